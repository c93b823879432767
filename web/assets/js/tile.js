// @ts-check
/**
 * One camera on the dashboard: its picture, its state in words, start and stop.
 *
 * @typedef {import('./api.js').Camera} Camera
 */
import { startStream, stopStream } from './api.js';
import { Player } from './player.js';
import { ago, bitrate, cameraName, cameraState, counted, sentence } from './words.js';

/** A picture that went out of sight is let go after this long, so that scrolling does not stop and start it. */
const LINGER_MS = 4000;

export class Tile {
  /** @type {HTMLElement} */ element;
  /** Set by whoever watches the scroll position. */
  onScreen = true;

  #id;
  #changed;
  #player;
  /** @type {Camera | null} */ #camera = null;
  /**
   * Why there is to be no picture: somebody stopped the camera, or it failed. Over as soon as the stream runs again.
   * @type {'' | 'stopped' | 'failed'}
   */
  #resting = '';
  /** Since when: what was asked of the server before says nothing of it. */
  #restingSince = 0;
  /** A start or stop is under way. */
  #busy = false;
  #problem = '';
  #lingerTimer = 0;

  /**
   * @param {string} id
   * @param {() => void} changed called when the list of cameras is worth reading again
   */
  constructor(id, changed) {
    this.#id = id;
    this.#changed = changed;
    const template = /** @type {HTMLTemplateElement} */ (document.getElementById('tile'));
    const copy = /** @type {DocumentFragment} */ (template.content.cloneNode(true));
    this.element = /** @type {HTMLElement} */ (copy.firstElementChild);
    this.element.dataset.camera = id;
    this.#find('.name').title = id;
    this.#find('.start').addEventListener('click', () => void this.#start());
    this.#find('.stop').addEventListener('click', () => void this.#stop());
    this.#find('.screen').addEventListener('click', () => this.#onScreenClick());
    this.#player = new Player(id, /** @type {HTMLVideoElement} */ (this.#find('video')));
    this.#player.addEventListener('phase', () => this.#onPhase());
    this.#player.addEventListener('sample', () => this.#render());
    this.#player.addEventListener('stream', () => this.#changed());
  }

  /**
   * @param {Camera} camera
   * @param {number} asked when the server was asked for it, by `performance.now()`
   */
  update(camera, asked) {
    const returned = camera.online === true && this.#camera?.online === false;
    this.#camera = camera;
    const news = !this.#busy && asked > this.#restingSince;
    if (news && (this.#running || (returned && this.#resting === 'failed'))) this.#resting = '';
    this.#render();
  }

  /** @param {boolean} allowed whether tiles may show pictures at all now */
  decidePicture(allowed) {
    // A camera that drops out while it is watched keeps its viewers: the picture returns by itself.
    const there = this.#camera?.online === true || (this.#player.wanted && this.#running);
    if (allowed && this.onScreen && !this.#resting && there) {
      clearTimeout(this.#lingerTimer);
      this.#lingerTimer = 0;
      this.#player.play();
    } else if (this.#player.wanted && !this.#lingerTimer) {
      this.#lingerTimer = window.setTimeout(() => {
        this.#lingerTimer = 0;
        this.#player.stop();
      }, LINGER_MS);
    }
  }

  get #running() {
    const state = this.#camera?.stream?.state;
    return state === 'starting' || state === 'active';
  }

  remove() {
    clearTimeout(this.#lingerTimer);
    this.#player.dispose();
    this.element.remove();
  }

  #onPhase() {
    if (this.#player.phase === 'stopped' || this.#player.phase === 'failed') {
      this.#rest(this.#player.phase);
      this.#problem = this.#player.phase === 'failed' ? this.#player.detail : '';
      this.#changed();
    } else if (this.#player.phase === 'playing') {
      this.#problem = '';
      this.#changed();
    }
    this.#render();
  }

  /** For pointers; keyboards have the link. */
  #onScreenClick() {
    if (this.#player.needsClick) void this.#player.resume();
    else this.#find('.watch').click();
  }

  async #start() {
    this.#resting = '';
    await this.#run(() => startStream(this.#id));
  }

  async #stop() {
    this.#rest('stopped');
    this.#player.stop();
    await this.#run(() => stopStream(this.#id));
    this.#rest('stopped');
  }

  /** @param {'stopped' | 'failed'} why */
  #rest(why) {
    this.#resting = why;
    this.#restingSince = performance.now();
  }

  /**
   * Asks the server for something. One that it refuses is not asked for again by the live picture.
   * @param {() => Promise<unknown>} action
   */
  async #run(action) {
    this.#busy = true;
    this.#problem = '';
    this.#render();
    try {
      await action();
    } catch (error) {
      this.#problem = error instanceof Error ? error.message : String(error);
      this.#rest('failed');
    }
    this.#busy = false;
    this.#render();
    this.#changed();
  }

  #render() {
    const camera = this.#camera;
    if (!camera) return;
    const words = cameraState(camera);
    this.#rename(cameraName(this.#id, camera.name));
    const running = this.#running || camera.stream?.state === 'stopping';
    this.element.dataset.state = camera.stream?.state ?? 'idle';
    this.element.dataset.phase = this.#player.phase;
    this.element.dataset.tone = words.tone;
    this.#text('.pill-text', words.text);
    this.#text('.facts', this.#facts(camera));
    this.#button('.start', running, camera.online === false);
    this.#button('.stop', !running, false);
    this.#renderVeil(words.text);
    const problem = (camera.stream?.state === 'error' && camera.stream.error_message) || this.#problem;
    this.#find('.problem').hidden = problem === '';
    this.#text('.problem', sentence(problem));
  }

  /** @param {string} state */
  #renderVeil(state) {
    const { phase, detail, needsClick } = this.#player;
    const veil = { playing: 'none', stalled: 'dim' }[/** @type {string} */ (phase)] ?? 'full';
    const waiting = this.#busy || ['connecting', 'waiting', 'retrying', 'stalled'].includes(phase);
    this.element.dataset.veil = needsClick ? 'dim' : veil;
    this.element.dataset.busy = String(waiting && !needsClick);
    const text = detail && phase !== 'failed' ? detail : state;
    this.#text('.veil-text', needsClick ? 'Tap to play' : text);
  }

  /** @param {Camera} camera */
  #facts(camera) {
    const stream = camera.stream;
    if (!stream || !this.#running) {
      if (!camera.online) return `Last seen ${ago(camera.last_seen)}`;
      return camera.firmware ? `Firmware ${camera.firmware}` : 'Online';
    }
    const facts = [counted(stream.viewer_count, 'viewer')];
    if (stream.bitrate_kbps) facts.push(bitrate(stream.bitrate_kbps));
    const sample = this.#player.sample;
    if (sample && sample.height > 0) facts.push(`${sample.height}p`);
    return facts.join(' · ');
  }

  /** @param {string} name */
  #rename(name) {
    if (this.#find('.name').textContent === name) return;
    const watch = /** @type {HTMLAnchorElement} */ (this.#find('.watch'));
    watch.href = `/viewer?camera=${encodeURIComponent(this.#id)}`;
    watch.setAttribute('aria-label', `Watch ${name}`);
    this.#find('video').setAttribute('aria-label', `Live picture of ${name}`);
    this.#find('.start').setAttribute('aria-label', `Start ${name}`);
    this.#find('.stop').setAttribute('aria-label', `Stop ${name}`);
    this.#text('.name', name);
  }

  /**
   * @param {string} selector
   * @param {boolean} hidden
   * @param {boolean} disabled
   */
  #button(selector, hidden, disabled) {
    const button = /** @type {HTMLButtonElement} */ (this.#find(selector));
    button.hidden = hidden;
    button.disabled = disabled || this.#busy;
  }

  /**
   * @param {string} selector
   * @param {string} text
   */
  #text(selector, text) {
    const element = this.#find(selector);
    if (element.textContent !== text) element.textContent = text;
  }

  /**
   * @param {string} selector
   * @returns {HTMLElement}
   */
  #find(selector) {
    const element = this.element.querySelector(selector);
    if (!(element instanceof HTMLElement)) throw new Error(`the tile lacks ${selector}`);
    return element;
  }
}
