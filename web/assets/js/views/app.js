// @ts-check
/** The app around its views: where one can go, and what concerns all of them. */
import { html, keyed, nothing } from '../../vendor/lit.js';
import { language, t } from '../i18n/i18n.js';
import { live, Watching } from '../live.js';
import { AppElement } from '../parts/element.js';
import { icon, mark } from '../parts/icons.js';
import '../parts/notice.js';
import { route } from '../route.js';
import { enter, me, wasKnown, WELCOMED_KEY } from '../session.js';

document.documentElement.lang = language;

/** When a page without its view was last loaded anew by itself. */
const RELOADED_KEY = 'apiary.reloaded';
const RELOAD_AGAIN_MS = 60_000;

/** @typedef {{load: () => Promise<unknown>, render: () => unknown, gate?: true}} View `gate`: for strangers too */

/** @type {View} */
const WALL = { load: () => import('./wall.js'), render: () => html`<apiary-wall></apiary-wall>` };
/** @type {View} */
const CAMERA = {
  load: () => import('./camera.js'),
  render: () => {
    const camera = route.query('camera').toUpperCase();
    return keyed(camera, html`<apiary-camera-view .camera=${camera}></apiary-camera-view>`);
  },
};
/** By path. Each is loaded when it is first gone to. @type {Record<string, View>} */
const VIEWS = {
  '/': WALL,
  '/viewer': CAMERA,
  '/livestream/viewer': CAMERA,
  '/events': { load: () => import('./events.js'), render: () => html`<apiary-events></apiary-events>` },
  '/account': { load: () => import('./account.js'), render: () => html`<apiary-account></apiary-account>` },
  '/admin': { load: () => import('./admin.js'), render: () => html`<apiary-admin></apiary-admin>` },
  '/welcome': { load: () => import('./welcome.js'), render: () => html`<apiary-welcome .step=${route.query('step')}></apiary-welcome>` },
  '/login': { load: () => import('./gate.js'), render: () => html`<apiary-login></apiary-login>`, gate: true },
  '/setup': { load: () => import('./gate.js'), render: () => html`<apiary-setup></apiary-setup>`, gate: true },
  '/share': { load: () => import('./gate.js'), render: () => html`<apiary-share></apiary-share>`, gate: true },
};

export class App extends AppElement {
  static properties = { path: { state: true }, ready: { state: true } };

  /** A view could not be loaded. Browsers differ in whether they would try again. */
  #stuck = false;

  constructor() {
    super();
    new Watching(this);
    this.path = '';
    /** The view of {@link path} is loaded. */ this.ready = false;
    route.addEventListener('change', () => void this.#go());
    void this.#go();
    if (VIEWS[route.path]?.gate) return;
    void this.#enter();
  }

  /** Names and rights come a little later than the page; what depends on them is rendered then. */
  async #enter() {
    // Both at once where somebody was logged in before: strangers have no news to get, and browsers log what is refused.
    if (wasKnown()) live.open();
    const who = await enter();
    if (who !== 'stranger') live.open();
    live.announce();
    void keepNotified();
  }

  async #go() {
    const path = route.path;
    try {
      await VIEWS[path]?.load();
    } catch {
      this.#stuck = true; // most often the server is away, as is said above the view that stays
      this.requestUpdate();
      return;
    }
    this.#stuck = false;
    if (path !== route.path) return;
    this.path = path;
    this.ready = true;
    this.requestUpdate();
  }

  /** What stands on the page until there is a view stays until then. */
  shouldUpdate() {
    if (this.#stuck && live.connected) reloadOnce();
    return this.ready || this.#stuck;
  }

  willUpdate() {
    if (!this.hasUpdated) this.replaceChildren();
  }

  updated() {
    // Who administers a house without any camera is led to the assistant, unless it was put off here.
    const first = this.path === '/' && live.known && live.cameras.size === 0;
    if (first && me.isAdmin && me.hasAccount && !localStorage.getItem(WELCOMED_KEY)) route.replace('/welcome');
  }

  render() {
    const view = VIEWS[this.path];
    document.body.dataset.role = me.user?.role ?? '';
    if (!view) return html`<main id="main">${this.#trouble()}</main>`;
    if (view.gate) return html`<main class="gate" id="main">${view.render()}</main><apiary-notice></apiary-notice>`;
    return html`
      <a class="skip" href="#main">${t('skip')}</a>
      ${me.user?.guest ? nothing : this.#bar()}
      <main id="main" tabindex="-1">
        ${this.#trouble()}
        ${view.render()}
      </main>
      <apiary-notice></apiary-notice>`;
  }

  #bar() {
    return html`<header class="bar">
      <a class="brand" href="/" aria-label=${t('home')}>${mark()}<span class="brand-word">Apiary</span></a>
      <nav class="nav" aria-label=${t('nav')}>
        ${this.#link('/', 'cameras', t('nav.cameras'))}
        ${this.#link('/events', 'events', t('nav.events'))}
        ${me.isAdmin ? this.#link('/admin', 'admin', t('nav.admin')) : nothing}
        ${this.#link('/account', 'account', me.hasAccount ? me.user?.name ?? '' : t('nav.account'), 'account')}
      </nav>
    </header>`;
  }

  /**
   * @param {string} path
   * @param {Parameters<typeof icon>[0]} picture
   * @param {string} words
   * @param {string} [id]
   */
  #link(path, picture, words, id) {
    return html`<a href=${path} id=${id ?? nothing} aria-current=${path === this.path ? 'page' : nothing}>${icon(picture)}<span>${words}</span></a>`;
  }

  /** What keeps everything from being seen, if anything does, and what to do. */
  #trouble() {
    const text = trouble();
    return html`<p class="notice bad" id="notice" role="status" ?hidden=${!text}>${text}</p>
      <p class="notice" id="outdated" role="status" ?hidden=${!live.outdated && !this.#stuck}>${t(live.outdated ? 'outdated' : 'stuck')}
        <button type="button" class="button" @click=${() => location.reload()}>${t('reload')}</button></p>`;
  }
}
customElements.define('apiary-app', App);

/** Where that did not help a moment ago, it would not now either. */
function reloadOnce() {
  const last = Number(sessionStorage.getItem(RELOADED_KEY));
  if (Date.now() - last < RELOAD_AGAIN_MS) return;
  sessionStorage.setItem(RELOADED_KEY, String(Date.now()));
  location.reload();
}

/** A device that is notified is so by the login that it has now. */
async function keepNotified() {
  const isNotified = 'Notification' in window && Notification.permission === 'granted';
  if (!isNotified || !me.user || me.user.guest || route.path === '/account') return; // which does it itself
  await import('../push.js').then(({ known }) => known()).catch(() => {}); // the next page tries again
}

function trouble() {
  if (live.over) return t('share.ended');
  if (live.lost) return navigator.onLine ? t('server.lost') : t('server.offline');
  if (!live.brokerConnected) return t(me.isAdmin ? 'trouble.broker-admin' : 'trouble.broker');
  if (live.engineError) return t('trouble.engine', { why: live.engineError });
  if (live.clockAheadMs) return t(live.clockAheadMs > 0 ? 'trouble.clock-ahead' : 'trouble.clock-behind', { minutes: Math.round(Math.abs(live.clockAheadMs) / 60_000) });
  return '';
}
