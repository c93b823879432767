// @ts-check
/**
 * Where one is in the app. Links within it change the view without loading a page anew; each address can be loaded too.
 *
 * Fires `change` after one went somewhere.
 */

class Route extends EventTarget {
  constructor() {
    super();
    window.addEventListener('popstate', () => this.#announce());
    document.addEventListener('click', (event) => this.#onClick(event));
  }

  get path() {
    return location.pathname;
  }

  /** @param {string} name of a query parameter */
  query(name) {
    return new URLSearchParams(location.search).get(name) ?? '';
  }

  /** @param {string} address on this server */
  go(address) {
    history.pushState(null, '', address);
    window.scrollTo(0, 0);
    this.#announce();
  }

  /** As {@link go}, without a way back to where one is. @param {string} address on this server */
  replace(address) {
    history.replaceState(null, '', address);
    this.#announce();
  }

  /** @param {MouseEvent} event */
  #onClick(event) {
    const link = event.target instanceof Element ? event.target.closest('a') : null;
    const meant = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (!link || !meant || event.defaultPrevented || link.target || link.hasAttribute('download')) return;
    // Within the page, and what is no view, is the browser's.
    if (link.origin !== location.origin || link.hash || !isView(link.pathname)) return;
    event.preventDefault();
    this.go(link.pathname + link.search);
  }

  #announce() {
    this.dispatchEvent(new Event('change'));
  }
}

/** The paths of the views that one can go between. */
const VIEWS = ['/', '/viewer', '/livestream/viewer', '/events', '/account', '/admin', '/welcome'];

/** @param {string} path */
function isView(path) {
  return VIEWS.includes(path);
}

export const route = new Route();
