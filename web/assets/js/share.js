// @ts-check
/** Opening a share link: what it holds stands behind `#`, and so in no log of any server on the way. */
import { call } from './api.js';
import { tell } from './session.js';

const notice = /** @type {HTMLElement} */ (document.getElementById('notice'));
const hint = /** @type {HTMLElement} */ (document.getElementById('hint'));

void open();

async function open() {
  const token = location.hash.slice(1);
  try {
    const me = await call('POST', '/api/auth/share', { token });
    const camera = me.user.cameras[0];
    if (!camera) throw new Error('The camera is not shared any more.');
    location.replace(`/viewer?camera=${encodeURIComponent(camera)}`);
  } catch (error) {
    hint.hidden = true;
    tell(notice, error instanceof Error ? error.message : String(error), true);
  }
}
