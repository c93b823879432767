// @ts-check
/** Making the first administrator, with the secret that stands behind `#` in the address. */
import { call } from './api.js';
import { onSubmit, tell } from './session.js';

const form = /** @type {HTMLFormElement} */ (document.getElementById('form'));
const notice = /** @type {HTMLElement} */ (document.getElementById('notice'));
const secret = location.hash.slice(1);

// Neither the history nor somebody who looks over a shoulder needs it.
history.replaceState(null, '', location.pathname);
if (!secret) {
  tell(notice, 'This link is not whole: it is the one that the console of the program shows, to its last letter.', true);
  form.hidden = true;
}

onSubmit(form, notice, async () => {
  const password = valueOf('password');
  if (password !== valueOf('again')) throw new Error('The two passwords differ.');
  await call('POST', '/api/auth/setup', { secret, name: valueOf('name'), password });
  location.replace('/');
});

/** @param {string} id */
function valueOf(id) {
  return /** @type {HTMLInputElement} */ (document.getElementById(id)).value;
}
