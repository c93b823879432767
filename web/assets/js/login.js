// @ts-check
/** Logging in. */
import { call } from './api.js';
import { nextPage, onSubmit, tell, whoAmI } from './session.js';

const form = /** @type {HTMLFormElement} */ (document.getElementById('form'));
const notice = /** @type {HTMLElement} */ (document.getElementById('notice'));

onSubmit(form, notice, async () => {
  await call('POST', '/api/auth/login', { name: valueOf('name'), password: valueOf('password') });
  location.replace(nextPage());
});

void whoAmI().then((me) => {
  if (me.provider) {
    const link = /** @type {HTMLAnchorElement} */ (document.getElementById('provider'));
    link.href = `${me.provider.path}?next=${encodeURIComponent(nextPage())}`;
    link.textContent = `Log in with ${me.provider.name}`;
    link.hidden = false;
  }
  if (me.user && !me.user.guest) location.replace(nextPage());
  if (me.needs_setup) {
    tell(notice, 'Nobody has an account yet. The console of the program shows a link with which the first one is made.');
  }
}, () => {});

/** @param {string} id */
function valueOf(id) {
  return /** @type {HTMLInputElement} */ (document.getElementById(id)).value;
}
