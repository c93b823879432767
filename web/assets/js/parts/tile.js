// @ts-check
/**
 * One camera on the wall: its picture, its state in words, start and stop.
 *
 * @typedef {import('../api.js').Camera} Camera
 * @typedef {import('../../vendor/lit.js').PropertyValues} PropertyValues
 */
import { html, nothing } from '../../vendor/lit.js';
import { posterOf, startStream, stopStream } from '../api.js';
import { reason, t } from '../i18n/i18n.js';
import { Player } from '../media/player.js';
import { mayReturn, runs } from '../media/return.js';
import { bitrate, cameraName, cameraState, sentence } from '../words.js';
import { badges } from './badges.js';
import { AppElement, GIVEN } from './element.js';
import { icon } from './icons.js';

/** A picture that went out of sight is let go after this long, so that scrolling does not stop and start it. */
const LINGER_MS = 4000;
/** Tiles this far outside of the window count as in sight. */
const MARGIN = '120px';

/** Tells tiles whether they are in sight. */
const sight = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (target instanceof Tile) target.inSight = isIntersecting;
  }
}, { rootMargin: MARGIN });

export class Tile extends AppElement {
  static properties = {
    camera: { attribute: false },
    pictures: { attribute: false },
    arranging: { attribute: false },
    inSight: { state: true },
  };

  /** @type {Player | null} */ #player = null;
  /**
   * Why there is to be no picture: somebody stopped the camera, or it failed. Over as soon as the stream runs again.
   * @type {'' | 'stopped' | 'failed'}
   */
  #resting = '';
  /** A start or stop is under way. */
  #busy = false;
  #problem = '';
  #lingerTimer = 0;

  constructor() {
    super();
    this.camera = /** @type {Camera} */ (GIVEN);
    /** Whether tiles may show pictures at all now. */ this.pictures = false;
    /** Whether tiles are being put into another order. */ this.arranging = false;
    this.inSight = false;
  }

  connectedCallback() {
    super.connectedCallback();
    sight.observe(this);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    sight.unobserve(this);
    clearTimeout(this.#lingerTimer);
    this.#lingerTimer = 0;
    this.#player?.dispose();
    this.#player = null;
  }

  /** @param {PropertyValues} changed */
  willUpdate(changed) {
    const before = /** @type {Camera | undefined} */ (changed.get('camera'));
    if (before && this.#resting && !this.#busy && mayReturn(before, this.camera, this.#resting)) this.#resting = '';
  }

  updated() {
    if (this.isConnected) this.#decidePicture();
  }

  get #running() {
    return runs(this.camera);
  }

  #decidePicture() {
    // A camera that drops out while it is watched keeps its viewers: the picture returns by itself.
    const there = this.camera.online === true || (this.#player?.wanted && this.#running);
    const wakes = this.#running || this.camera.mode !== 'PRIVACY';
    if (this.pictures && this.inSight && !this.#resting && there && wakes) {
      clearTimeout(this.#lingerTimer);
      this.#lingerTimer = 0;
      this.#player ??= this.#makePlayer();
      this.#player.play();
    } else if (this.#player?.wanted && !this.#lingerTimer) {
      this.#lingerTimer = window.setTimeout(() => {
        this.#lingerTimer = 0;
        this.#player?.stop();
      }, LINGER_MS);
    }
  }

  #makePlayer() {
    const player = new Player(this.camera.camera_id, this.find('video', HTMLVideoElement));
    player.addEventListener('phase', () => this.#onPhase());
    player.addEventListener('sample', () => this.requestUpdate());
    return player;
  }

  #onPhase() {
    const player = this.#player;
    if (player?.phase === 'stopped' || player?.phase === 'failed') {
      this.#resting = player.phase;
      this.#problem = player.phase === 'failed' ? player.detail : '';
    } else if (player?.phase === 'playing') {
      this.#problem = '';
    }
    this.requestUpdate();
  }

  /** @param {MouseEvent} event */
  #onScreenClick(event) {
    if (!this.#player?.needsClick) return;
    event.preventDefault();
    void this.#player.resume();
  }

  async #start() {
    this.#resting = '';
    await this.#run(() => startStream(this.camera.camera_id));
  }

  async #stop() {
    this.#resting = 'stopped';
    this.#player?.stop();
    await this.#run(() => stopStream(this.camera.camera_id));
  }

  /**
   * Asks the server for something. One that it refuses is not asked for again by the live picture.
   * @param {() => Promise<unknown>} action
   */
  async #run(action) {
    this.#busy = true;
    this.#problem = '';
    this.requestUpdate();
    try {
      await action();
    } catch (error) {
      this.#problem = error instanceof Error ? error.message : String(error);
      this.#resting = 'failed';
    }
    this.#busy = false;
    this.requestUpdate();
  }

  render() {
    const { camera } = this;
    const name = cameraName(camera.camera_id, camera.name);
    const words = cameraState(camera);
    const failure = camera.stream?.state === 'error' ? camera.stream : null;
    const problem = (failure && reason(failure.error_cause, failure.error_message ?? '')) || this.#problem;
    return html`<article class="tile" data-camera=${camera.camera_id} data-state=${camera.stream?.state ?? 'idle'}
        data-phase=${this.#player?.phase ?? 'idle'} data-tone=${words.tone} data-veil=${this.#veil}
        data-busy=${this.#waiting} data-poster=${camera.poster} aria-label=${name}>
      <div class="screen">
        <video playsinline muted autoplay tabindex="-1" aria-hidden="true"></video>
        ${camera.poster && this.inSight && this.#player?.phase !== 'playing'
          ? html`<video class="poster" playsinline muted preload="auto" tabindex="-1" aria-hidden="true" src=${posterOf(camera)}></video>`
          : nothing}
        <span class="veil"><span class="spinner" aria-hidden="true"></span><span class="veil-text">${this.#veilText(words.text)}</span></span>
        <span class="pill"><span class="dot" aria-hidden="true"></span><span class="pill-text">${words.text}</span></span>
        ${badges(camera)}
        <a class="watch" href="/viewer?camera=${camera.camera_id}" aria-label=${t('tile.watch', { name })} draggable="false"
          @click=${this.#onScreenClick}></a>
      </div>
      <div class="caption">
        <div class="names">
          <h3 class="name" title=${camera.camera_id}>${name}</h3>
          <p class="facts">${this.#facts()}</p>
        </div>
        <div class="actions">${this.arranging ? this.#handle(name) : this.#buttons(name)}</div>
      </div>
      <p class="problem" ?hidden=${!problem}>${sentence(problem)}</p>
    </article>`;
  }

  /** @param {string} name */
  #buttons(name) {
    const stopping = this.camera.stream?.state === 'stopping';
    return this.#running || stopping
      ? html`<button type="button" class="round stop" aria-label=${t('tile.stop', { name })} title=${t('stop')}
          ?disabled=${this.#busy || stopping} @click=${this.#stop}>${icon('stop')}</button>`
      : html`<button type="button" class="round start" aria-label=${t('tile.start', { name })} title=${t('start')}
          ?disabled=${this.#busy || this.camera.online === false} @click=${this.#start}>${icon('start')}</button>`;
  }

  /** @param {string} name */
  #handle(name) {
    return html`<button type="button" class="round handle" aria-label=${t('tile.move', { name })} title=${t('tile.move-hint')}>
      ${icon('move')}</button>`;
  }

  get #veil() {
    const player = this.#player;
    if (player?.needsClick) return 'dim';
    return { playing: 'none', stalled: 'dim' }[/** @type {string} */ (player?.phase)] ?? 'full';
  }

  get #waiting() {
    const player = this.#player;
    const waits = player && ['connecting', 'waiting', 'retrying', 'stalled'].includes(player.phase);
    return this.#busy || (waits && !player.needsClick) || false;
  }

  /** @param {string} state */
  #veilText(state) {
    const player = this.#player;
    if (player?.needsClick) return t('tile.tap');
    return player?.detail && player.phase !== 'failed' ? player.detail : state;
  }

  #facts() {
    const { stream } = this.camera;
    if (!stream || !this.#running) return this.camera.firmware ? t('tile.firmware', { version: this.camera.firmware }) : nothing;
    const facts = [t('viewers', { n: stream.viewer_count })];
    if (stream.bitrate_kbps) facts.push(bitrate(stream.bitrate_kbps));
    const sample = this.#player?.sample;
    if (sample && sample.height > 0) facts.push(`${sample.height}p`);
    return facts.join(' · ');
  }
}
customElements.define('apiary-tile', Tile);
