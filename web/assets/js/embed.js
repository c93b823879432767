// @ts-check
/**
 * `<apiary-camera>`: a camera's live picture on any page, also one of another server. `docs/embedding.md` shows how.
 *
 * | attribute | meaning |
 * | --- | --- |
 * | `src` | the server's address, or a share link of it, which is all that somebody without an account needs |
 * | `camera` | the camera's id |
 * | `controls` | with buttons for sound and full screen |
 *
 * Fires `phase`, with the player's phase and words as `detail`. `--apiary-radius` rounds its corners.
 *
 * @typedef {import('./media/player.js').Phase} Phase
 */
import { css, html, LitElement, nothing } from '../vendor/lit.js';
import { t } from './i18n/i18n.js';
import { Player } from './media/player.js';
import { icon } from './parts/icons.js';

export class ApiaryCamera extends LitElement {
  static properties = { src: {}, camera: {}, controls: { type: Boolean }, muted: { state: true } };

  static styles = css`
    :host { display: block; position: relative; overflow: hidden; aspect-ratio: 16 / 9; border-radius: var(--apiary-radius, 0); background: #16130f; color: #f4eee4; font: 15px/1.5 system-ui, sans-serif; }
    video { display: block; width: 100%; height: 100%; object-fit: contain; }
    .veil { position: absolute; inset: 0; display: grid; place-items: center; align-content: center; gap: 12px; padding: 16px; background: rgb(16 13 9 / 70%); text-align: center; }
    .veil[hidden] { display: none; }
    .controls { position: absolute; right: 8px; bottom: 8px; display: flex; gap: 6px; }
    button { display: grid; place-items: center; min-width: 44px; min-height: 44px; padding: 0 10px; border: 0; border-radius: 10px; background: rgb(16 13 9 / 72%); color: inherit; font: inherit; cursor: pointer; }
    button:focus-visible { outline: 3px solid #f0a51e; }
    .icon { width: 22px; height: 22px; fill: none; stroke: currentcolor; stroke-width: 1.9; stroke-linecap: round; stroke-linejoin: round; }
    p { margin: 0; }
  `;

  /** @type {Player | null} */ #player = null;
  #refused = false;

  constructor() {
    super();
    this.src = location.origin;
    this.camera = '';
    this.controls = false;
    this.muted = true;
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.#leave();
  }

  connectedCallback() {
    super.connectedCallback();
    if (this.hasUpdated) this.#join();
  }

  /** @param {import('../vendor/lit.js').PropertyValues} changed */
  updated(changed) {
    if (changed.has('src') || changed.has('camera')) this.#join();
  }

  #join() {
    this.#leave();
    if (!this.camera || !URL.canParse(this.src, location.href)) return;
    const address = new URL(this.src, location.href);
    const server = { origin: address.origin, token: address.pathname === '/share' ? address.hash.slice(1) : '' };
    this.#refused = false;
    const player = new Player(this.camera, this.#video, server, () => { this.#refused = true; });
    player.addEventListener('phase', () => this.#onPhase());
    this.#player = player;
    player.play();
  }

  #leave() {
    this.#player?.dispose();
    this.#player = null;
  }

  #onPhase() {
    const { phase, detail } = /** @type {Player} */ (this.#player);
    if (phase === 'playing') this.#refused = false;
    this.dispatchEvent(new CustomEvent('phase', { detail: { phase, text: detail } }));
    this.requestUpdate();
  }

  get #video() {
    return /** @type {HTMLVideoElement} */ (this.renderRoot.querySelector('video'));
  }

  render() {
    const player = this.#player;
    return html`<video playsinline autoplay .muted=${this.muted} aria-label=${t('embed.picture')}></video>
      <div class="veil" role="status" ?hidden=${player?.phase === 'playing' && !player.needsClick}>
        ${player?.needsClick
          ? html`<button type="button" @click=${() => player.resume()}>${t('play')}</button>`
          : html`<p>${this.#text}</p>`}
      </div>
      ${this.controls ? html`<div class="controls">
        <button type="button" aria-label=${t(this.muted ? 'sound.off' : 'sound.on')} aria-pressed=${!this.muted} @click=${this.#toggleSound}>${icon(this.muted ? 'mute' : 'sound')}</button>
        <button type="button" aria-label=${t('full-screen')} @click=${() => this.requestFullscreen().catch(() => {})}>${icon('enlarge')}</button>
      </div>` : nothing}`;
  }

  get #text() {
    if (!this.camera) return t('embed.no-camera');
    if (this.#refused) return t('embed.refused');
    return this.#player?.detail ?? '';
  }

  #toggleSound() {
    this.muted = !this.muted;
    if (this.#video.paused) void this.#player?.resume();
  }
}
customElements.define('apiary-camera', ApiaryCamera);
