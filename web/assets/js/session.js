// @ts-check
/**
 * Who looks at the page, and what they may do. Nothing here keeps anybody out: the server does that.
 *
 * @typedef {{name: string, role: 'viewer' | 'operator' | 'admin', guest: boolean, cameras: string[] | null}} User
 * @typedef {{accounts: boolean, needs_setup: boolean, provider: {name: string, path: string} | null, user: User | null}} Me
 */
import { call } from './api.js';
import { sentence } from './words.js';

/** @returns {Promise<Me>} */
export function whoAmI() {
  return call('GET', '/api/auth/me');
}

/**
 * Who looks at the page, for pages that are for known people: others are led to where they can log in. While the server
 * cannot be reached nobody is led anywhere.
 *
 * @returns {Promise<Me | null>} `null` where the page is being left, or the server does not answer
 */
export async function enter() {
  const me = await whoAmI().catch(() => null);
  if (!me) return null;
  if (!me.user) {
    location.replace(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
    return null;
  }
  // The style sheet hides what they may not do anyway.
  document.body.dataset.role = me.user.role;
  return me;
}

/** The page that somebody came from before they logged in; never one of another server. */
export function nextPage() {
  const next = new URL(new URLSearchParams(location.search).get('next') ?? '/', location.origin);
  return next.origin === location.origin ? next.pathname + next.search : '/';
}

/**
 * A form that asks the server for something, once at a time; what goes wrong is said above it.
 *
 * @param {HTMLFormElement} form
 * @param {HTMLElement} notice
 * @param {() => Promise<unknown>} action
 */
export function onSubmit(form, notice, action) {
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const button = /** @type {HTMLButtonElement} */ (form.querySelector('button'));
    button.disabled = true;
    tell(notice, '');
    try {
      await action();
    } catch (error) {
      tell(notice, error instanceof Error ? sentence(error.message) : String(error), true);
    }
    button.disabled = false;
  });
}

/**
 * @param {HTMLElement} notice
 * @param {string} text empty for nothing
 * @param {boolean} [bad]
 */
export function tell(notice, text, bad = false) {
  notice.hidden = text === '';
  notice.classList.toggle('bad', bad);
  notice.textContent = text;
}
