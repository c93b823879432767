// @ts-check
/**
 * Keeps the screen on while something fills it: who watches does not touch the device.
 *
 * @typedef {import('../../vendor/lit.js').ReactiveController} ReactiveController
 * @typedef {import('../../vendor/lit.js').ReactiveControllerHost} Host
 */

/**
 * As long as its component is on the page.
 *
 * @implements {ReactiveController}
 */
export class Awake {
  #lifetime = new AbortController();
  #wanted = false;
  /** @type {WakeLockSentinel | null} */ #lock = null;

  /** @param {Host} host */
  constructor(host) {
    host.addController(this);
  }

  hostConnected() {
    this.#lifetime = new AbortController();
    const until = { signal: this.#lifetime.signal };
    for (const event of ['fullscreenchange', 'visibilitychange']) document.addEventListener(event, () => void this.#look(), until);
  }

  hostDisconnected() {
    this.#lifetime.abort();
    void this.#want(false);
  }

  /** The browser itself lets go of a page that is out of sight, so it is asked again for one that returns. */
  #look() {
    return this.#want(document.fullscreenElement !== null && document.visibilityState === 'visible');
  }

  /** @param {boolean} wanted */
  async #want(wanted) {
    if (wanted === this.#wanted) return;
    this.#wanted = wanted;
    if (!wanted) {
      void this.#lock?.release();
      this.#lock = null;
      return;
    }
    // Refused where the battery is low, for example; the picture is no worse for it.
    const lock = await navigator.wakeLock?.request('screen').catch(() => null) ?? null;
    if (this.#wanted && !this.#lock) this.#lock = lock;
    else void lock?.release();
  }
}
