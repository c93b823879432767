// @ts-check
/**
 * Short messages: what came of something that one did. They stand above everything for a while, and are read out.
 *
 * @typedef {{text: string, bad: boolean}} Notice
 */
import { html, nothing } from '../../vendor/lit.js';
import { t } from '../i18n/i18n.js';
import { sentence } from '../words.js';
import { AppElement } from './element.js';

const SHOWN_MS = 6000;

/** The one notice that is shown. */
class NoticeElement extends AppElement {
  static properties = { notice: { state: true } };

  #timer = 0;

  constructor() {
    super();
    /** @type {Notice | null} */ this.notice = null;
  }

  /** @param {Notice | null} notice */
  show(notice) {
    clearTimeout(this.#timer);
    this.notice = notice;
    // What went wrong stays until it was read.
    if (notice && !notice.bad) this.#timer = window.setTimeout(() => this.show(null), SHOWN_MS);
  }

  render() {
    const { notice } = this;
    return html`<div id="toast" class="toast" role=${notice?.bad ? 'alert' : 'status'} data-bad=${notice?.bad ?? false}>
      ${notice
        ? html`<p>${notice.text}</p>
            <button type="button" class="toast-close" aria-label=${t('close')} @click=${() => this.show(null)}>×</button>`
        : nothing}
    </div>`;
  }
}
customElements.define('apiary-notice', NoticeElement);

/**
 * @param {string} text empty for nothing
 * @param {boolean} [bad]
 */
export function tell(text, bad = false) {
  const element = document.querySelector('apiary-notice');
  if (element instanceof NoticeElement) element.show(text ? { text, bad } : null);
}

/**
 * Does something, and says what went wrong if it did.
 *
 * @param {() => Promise<unknown>} action
 * @returns {Promise<boolean>} whether it went well
 */
export async function attempt(action) {
  try {
    await action();
    return true;
  } catch (error) {
    tell(sentence(error instanceof Error ? error.message : String(error)), true);
    return false;
  }
}
