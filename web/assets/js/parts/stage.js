// @ts-check
/**
 * One camera's picture, large, with what one does to it: sound, full screen, picture in picture, looking closer, a snapshot.
 *
 * Fires `player` with the player once there is one, and `toggle` when somebody wants the camera started or stopped.
 *
 * @typedef {import('../api.js').Camera} Camera
 */
import { html, nothing } from '../../vendor/lit.js';
import { t } from '../i18n/i18n.js';
import { Awake } from '../media/awake.js';
import { Player } from '../media/player.js';
import { Zoom } from '../media/zoom.js';
import { number, sentence } from '../words.js';
import { AppElement, GIVEN } from './element.js';
import { icon } from './icons.js';
import { isForPage } from './keys.js';
import { attempt, tell } from './notice.js';

const MUTED_KEY = 'apiary.muted';
/** Controls go out of the picture's way after this time without a move, in full screen. */
const CONTROLS_SHOWN_MS = 3000;
/** Keys that do it once, however long they are held. */
const ONCE = ['m', 'f', 'p', 's'];
const SNAPSHOT_QUALITY = 0.92;
/** A picture on a page that went out of sight is let go after this long, so that a glance elsewhere does not end it. */
const LINGER_MS = 15_000;

export class Stage extends AppElement {
  static properties = {
    camera: { attribute: false },
    name: { attribute: false },
    poster: { attribute: false },
    mayOperate: { attribute: false },
    busy: { attribute: false },
    talk: { attribute: false },
    fullScreen: { state: true },
    quiet: { state: true },
  };

  /** @type {Player | null} */ player = null;
  /** @type {Zoom | null} */ #zoom = null;
  #lifetime = new AbortController();
  #quietTimer = 0;
  #hiddenTimer = 0;

  constructor() {
    super();
    new Awake(this);
    this.camera = /** @type {string} */ (GIVEN);
    this.name = '';
    /** Where its last picture is, '' for nowhere. */ this.poster = '';
    this.mayOperate = false;
    /** A start or stop is under way. */ this.busy = false;
    /** What stands among the controls for talking. */ this.talk = /** @type {unknown} */ (nothing);
    this.fullScreen = false;
    /** The controls are out of the way. */ this.quiet = false;
  }

  connectedCallback() {
    super.connectedCallback();
    this.#lifetime = new AbortController();
    const until = { signal: this.#lifetime.signal };
    document.addEventListener('fullscreenchange', () => this.#onFullScreen(), until);
    document.addEventListener('visibilitychange', () => this.#onVisibility(), until);
    document.addEventListener('keydown', (event) => this.#onKey(event), until);
    // The page that goes says so at once; the server would notice only after seconds.
    window.addEventListener('pagehide', (event) => {
      if (!event.persisted) this.player?.stop();
    }, until);
    for (const move of ['pointermove', 'pointerdown', 'keydown']) this.addEventListener(move, () => this.#onMove(), until);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.#lifetime.abort();
    clearTimeout(this.#quietTimer);
    clearTimeout(this.#hiddenTimer);
    this.#zoom?.dispose();
    this.player?.dispose();
    this.player = null;
  }

  firstUpdated() {
    const video = this.#video;
    video.muted = localStorage.getItem(MUTED_KEY) !== 'off';
    this.#zoom = new Zoom(this.find('.frame', HTMLElement), video);
    this.#zoom.addEventListener('change', () => this.requestUpdate());
    // Who may talk is not known yet. The server lets through those who may.
    this.player = new Player(this.camera, video, undefined, undefined, true);
    for (const news of ['phase', 'sample']) this.player.addEventListener(news, () => this.requestUpdate());
    video.addEventListener('volumechange', () => this.requestUpdate());
    video.addEventListener('leavepictureinpicture', () => this.#onVisibility());
    this.dispatchEvent(new CustomEvent('player', { detail: this.player }));
    this.player.play();
    this.#onVisibility();
  }

  get #video() {
    return this.find('#video', HTMLVideoElement);
  }

  render() {
    const { player } = this;
    const phase = player?.phase ?? 'connecting';
    const veil = player?.needsClick ? 'dim' : { playing: 'none', stalled: 'dim' }[/** @type {string} */ (phase)] ?? 'full';
    const waits = this.busy || ['connecting', 'waiting', 'retrying', 'stalled'].includes(phase);
    return html`<section class="stage" id="stage" data-phase=${phase} data-veil=${veil} data-busy=${waits && !player?.needsClick}
        data-quiet=${this.fullScreen && this.quiet} data-poster=${this.poster !== ''} aria-label=${t('stage.label', { name: this.name })}>
      <div class="frame" @dblclick=${this.#toggleFullScreen}>
        <video id="video" playsinline muted autoplay disableremoteplayback aria-label=${t('stage.picture', { name: this.name })}></video>
        ${this.poster && phase !== 'playing' && phase !== 'stalled'
          ? html`<video class="poster" playsinline muted preload="auto" tabindex="-1" aria-hidden="true" src=${this.poster}></video>`
          : nothing}
        <div class="veil" id="veil">
          <span class="spinner" aria-hidden="true"></span>
          <p class="veil-text" id="veil-text" role="status">${this.#veilText}</p>
          <button type="button" class="button primary big" id="play" ?hidden=${!player?.needsClick}
            @click=${() => player?.resume()}>${t('play')}</button>
          ${phase === 'failed' || phase === 'stopped'
            ? html`<button type="button" class="button primary big" id="again" @click=${() => player?.play()}>${t('again')}</button>`
            : nothing}
        </div>
        ${this.#zoomed}
        ${player?.silenced
          ? html`<button type="button" class="pill hear" id="hear" @click=${this.#toggleSound}>${icon('mute')}${t('stage.hear')}</button>`
          : nothing}
      </div>
      <div class="controls">${this.#controls()}</div>
    </section>`;
  }

  get #veilText() {
    const { player } = this;
    if (player?.needsClick) return t('stage.needs-click');
    return sentence(player?.detail ?? '') || t('stage.idle');
  }

  get #zoomed() {
    const scale = this.#zoom?.scale ?? 1;
    return scale > 1
      ? html`<button type="button" class="pill zoomed" id="zoom-reset" @click=${() => this.#zoom?.reset()}>${number(scale, 1)} × · ${t('stage.whole')}</button>`
      : nothing;
  }

  #controls() {
    const muted = this.hasUpdated ? this.#video.muted : true;
    const playing = this.player?.phase === 'playing' || this.player?.phase === 'stalled';
    const wanted = this.player?.wanted ?? true;
    return html`
      <button type="button" class="control" id="sound" aria-pressed=${!muted} title="M" @click=${this.#toggleSound}>
        ${icon(muted ? 'mute' : 'sound')}<span id="sound-text">${t(muted ? 'sound.off' : 'sound.on')}</span></button>
      ${this.talk}
      <span class="grow"></span>
      <button type="button" class="control" id="snapshot" title="S" aria-label=${t('stage.snapshot')} ?disabled=${!playing} @click=${this.#snapshot}>${icon('snapshot')}</button>
      ${document.pictureInPictureEnabled
        ? html`<button type="button" class="control" id="pip" title="P" aria-label=${t('stage.pip')} ?disabled=${!playing} @click=${this.#togglePip}>${icon('pip')}</button>`
        : nothing}
      <button type="button" class="control" id="fullscreen" title="F" aria-label=${t(this.fullScreen ? 'stage.reduce' : 'full-screen')}
        @click=${this.#toggleFullScreen}>${icon(this.fullScreen ? 'reduce' : 'enlarge')}</button>
      ${this.mayOperate
        ? html`<button type="button" class="control" id="toggle" data-does=${wanted ? 'stop' : 'start'} ?disabled=${this.busy}
            @click=${() => this.dispatchEvent(new Event('toggle'))}>${icon(wanted ? 'stop' : 'start')}<span id="toggle-text">${t(wanted ? 'stop' : 'start')}</span></button>`
        : nothing}`;
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (!isForPage(event)) return;
    const zoom = this.#zoom;
    /** @type {Record<string, () => unknown>} */
    const actions = {
      m: () => this.#toggleSound(), f: () => this.#toggleFullScreen(), s: () => this.#snapshot(),
      '+': () => zoom?.closer(), '-': () => zoom?.further(), 0: () => zoom?.reset(),
    };
    if (document.pictureInPictureEnabled) actions['p'] = () => this.#togglePip();
    if (zoom && zoom.scale > 1) {
      Object.assign(actions, {
        ArrowLeft: () => zoom.step(-1, 0), ArrowRight: () => zoom.step(1, 0), ArrowUp: () => zoom.step(0, -1), ArrowDown: () => zoom.step(0, 1),
        Escape: () => zoom.reset(),
      });
    }
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    if (!event.repeat || !ONCE.includes(event.key)) action();
  }

  #toggleSound() {
    const video = this.#video;
    video.muted = !video.muted;
    localStorage.setItem(MUTED_KEY, video.muted ? 'on' : 'off');
    if (video.paused) void this.player?.resume();
  }

  async #toggleFullScreen() {
    const stage = this.find('.stage', HTMLElement);
    try {
      if (document.fullscreenElement) await document.exitFullscreen();
      else if (stage.requestFullscreen) await stage.requestFullscreen();
      else /** @type {any} */ (this.#video).webkitEnterFullscreen?.(); // Safari on iPhones: only the video itself
    } catch {
      tell(t('stage.no-full-screen'), true);
    }
  }

  async #togglePip() {
    await attempt(async () => {
      if (document.pictureInPictureElement) await document.exitPictureInPicture();
      else await this.#video.requestPictureInPicture();
    });
  }

  async #snapshot() {
    const video = this.#video;
    if (video.videoWidth === 0) return;
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext('2d')?.drawImage(video, 0, 0);
    const picture = await new Promise((/** @type {(blob: Blob | null) => void} */ done) => canvas.toBlob(done, 'image/jpeg', SNAPSHOT_QUALITY));
    if (!picture) return;
    const link = document.createElement('a');
    link.href = URL.createObjectURL(picture);
    link.download = `${this.name} ${new Date().toISOString().slice(0, 19).replace('T', ' ').replaceAll(':', '.')}.jpg`;
    link.click();
    // Not at once: some browsers have not begun to read it by then.
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    tell(t('stage.snapshot-taken', { name: link.download }));
  }

  #onFullScreen() {
    this.fullScreen = document.fullscreenElement !== null;
    this.#onMove();
  }

  /** A picture that nobody sees or hears is let go; one that returns is there at once. */
  #onVisibility() {
    clearTimeout(this.#hiddenTimer);
    if (document.visibilityState === 'hidden') this.#hiddenTimer = window.setTimeout(() => this.#onUnseen(), LINGER_MS);
  }

  #onUnseen() {
    const elsewhere = document.pictureInPictureElement === this.#video;
    if (this.#video.muted && !elsewhere) this.player?.rest();
  }

  #onMove() {
    this.quiet = false;
    clearTimeout(this.#quietTimer);
    if (this.fullScreen) this.#quietTimer = window.setTimeout(() => { this.quiet = true; }, CONTROLS_SHOWN_MS);
  }
}
customElements.define('apiary-stage', Stage);
