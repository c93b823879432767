// @ts-check
/**
 * Talking to a camera: hold the button, or tap it to begin and to end. One talks at a time, and while one does, the camera is not
 * heard here.
 *
 * @typedef {import('../media/player.js').Player} Player
 */
import { html, nothing } from '../../vendor/lit.js';
import { t } from '../i18n/i18n.js';
import { openMicrophone } from '../media/microphone.js';
import { sentence } from '../words.js';
import { AppElement } from './element.js';
import { icon } from './icons.js';
import { isForPage } from './keys.js';
import { tell } from './notice.js';

/** A shorter press is a tap: it begins what the next one ends, for hands that cannot hold. */
const TAP_MS = 300;

export class Talk extends AppElement {
  static properties = { player: { attribute: false }, since: { attribute: false }, step: { state: true } };

  /** @type {MediaStreamTrack | null} */ #sound = null;
  /** @type {Player | null} */ #heard = null;
  #pressedAt = 0;
  #pressed = false;
  #lifetime = new AbortController();

  #onTurn = () => this.#hear();

  constructor() {
    super();
    /** @type {Player | null} */ this.player = null;
    /** Since when somebody talks to this camera. @type {string | null} */ this.since = null;
    /** Where this page's turn stands. */ this.step = /** @type {'idle' | 'asking' | 'talking'} */ ('idle');
  }

  connectedCallback() {
    super.connectedCallback();
    this.#lifetime = new AbortController();
    const until = { signal: this.#lifetime.signal };
    document.addEventListener('keydown', (event) => this.#onKey(event), until);
    document.addEventListener('keyup', (event) => this.#onKey(event), until);
    // Who looks elsewhere has let go of the button, and nobody may be overheard.
    window.addEventListener('blur', () => this.#release(), until);
    document.addEventListener('visibilitychange', () => { if (document.hidden) this.end(); }, until);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.#lifetime.abort();
    this.end();
    this.#heard?.removeEventListener('talk', this.#onTurn);
  }

  /** @param {import('../../vendor/lit.js').PropertyValues} changed */
  willUpdate(changed) {
    if (!changed.has('player')) return;
    this.#heard?.removeEventListener('talk', this.#onTurn);
    this.player?.addEventListener('talk', this.#onTurn);
    this.#heard = this.player;
  }

  render() {
    const others = this.since !== null && this.step === 'idle';
    const text = others ? t('talk.others') : t(`talk.${this.step}`);
    return html`<button type="button" class="control talk" id="talk" title="T" data-step=${this.step} aria-pressed=${this.step !== 'idle'}
        ?disabled=${others || !this.player?.wanted}
        @pointerdown=${this.#onPointer} @pointerup=${this.#release} @pointercancel=${this.#release} @click=${this.#onClick}
        @contextmenu=${(/** @type {Event} */ event) => event.preventDefault()}>${icon('talk')}<span id="talk-text">${text}</span></button>
      ${this.step === 'idle' ? nothing : html`<p class="pill solid talking" data-tone=${this.step === 'talking' ? 'bad' : 'wait'} role="status">
        <span class="dot" aria-hidden="true"></span>${t(this.step === 'talking' ? 'talk.hint' : 'talk.asking')}</p>`}`;
  }

  /** @param {PointerEvent} event */
  #onPointer(event) {
    if (event.button !== 0) return;
    /** @type {Element} */ (event.currentTarget).setPointerCapture(event.pointerId);
    this.#press();
  }

  /**
   * Of assistive technology, which presses nothing: all other clicks follow a press.
   *
   * @param {MouseEvent} event
   */
  #onClick(event) {
    if (event.detail !== 0) return;
    if (this.step === 'idle') void this.begin();
    else this.end();
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const { target } = event;
    const here = target instanceof Element && target.id === 'talk' && (event.key === ' ' || event.key === 'Enter');
    const shortcut = event.key.toLowerCase() === 't' && (event.type === 'keyup' || isForPage(event));
    if (!here && !shortcut) return;
    event.preventDefault(); // no click besides
    if (event.repeat || this.find('#talk', HTMLButtonElement).disabled) return;
    if (event.type === 'keydown') this.#press();
    else this.#release();
  }

  #press() {
    this.#pressed = true;
    if (this.step !== 'idle') {
      this.#pressedAt = 0; // begun by a tap: this one ends it, however short
      return;
    }
    this.#pressedAt = performance.now();
    void this.begin();
  }

  #release() {
    if (!this.#pressed) return;
    this.#pressed = false;
    if (performance.now() - this.#pressedAt >= TAP_MS) this.end();
  }

  /** It is this page's turn, or is not any more. */
  #hear() {
    const player = /** @type {Player} */ (this.player);
    if (player.talks) {
      if (this.step !== 'idle') this.step = 'talking';
      else void player.hush(); // let go of while it was asked for
    } else if (this.step !== 'idle' && this.#sound) {
      if (player.hushed) tell(sentence(player.hushed), true);
      this.#finish();
    }
  }

  /** Talks, as soon as there is a microphone and it is this page's turn. */
  async begin() {
    if (this.step !== 'idle' || !this.player) return;
    this.step = 'asking';
    try {
      const sound = await openMicrophone();
      // Let go of before the microphone was there; or pressed again besides, which opened another one.
      if (this.step !== 'asking' || this.#sound) {
        sound.stop();
        return;
      }
      this.#sound = sound;
      sound.addEventListener('ended', () => this.end()); // pulled out, or not allowed any more
      await this.player.talk(sound);
    } catch (error) {
      tell(error instanceof Error ? error.message : String(error), true);
      this.#finish();
    }
  }

  end() {
    if (this.step === 'idle') return;
    this.#finish();
    void this.player?.hush();
  }

  #finish() {
    this.step = 'idle';
    this.#sound?.stop();
    this.#sound = null;
  }
}
customElements.define('apiary-talk', Talk);
