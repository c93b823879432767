// @ts-check
/** What administrators look at and nobody tells of by itself. */
import { AppElement } from './element.js';

/** The doctor itself looks only so often. */
export const LOOK_EVERY_MS = 30_000;

/** A component that reads something again and again while it is on the page and in sight. */
export class Polling extends AppElement {
  #timer = 0;
  everyMs = LOOK_EVERY_MS;

  connectedCallback() {
    super.connectedCallback();
    void this.#look();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearTimeout(this.#timer);
  }

  /** @returns {Promise<void>} */
  async read() {}

  async #look() {
    if (document.visibilityState === 'visible') await this.read().catch(() => {}); // that the server is away is said elsewhere
    if (this.isConnected) this.#timer = window.setTimeout(() => void this.#look(), this.everyMs);
  }
}
