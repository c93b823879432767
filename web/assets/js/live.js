// @ts-check
/**
 * What goes on, as the server tells it: all cameras that one may see, and what happens to them. One socket a page, which takes up
 * where it was when it was lost.
 *
 * Fires `change` after each news, `event` with what happened to a camera, and `told` when it begins to be told, at first or again,
 * with whether something may have been missed.
 *
 * @typedef {import('./api.js').Camera} Camera
 * @typedef {import('./api.js').CameraEvent} CameraEvent
 * @typedef {import('../vendor/lit.js').ReactiveController} ReactiveController
 * @typedef {import('../vendor/lit.js').ReactiveControllerHost} Host
 */
import { heardTime } from './clock.js';
import { enter } from './session.js';

/** The wait before each further try; the last one repeats. */
const BACKOFF_MS = [200, 1000, 2000, 4000, 8000];
/** Each wait varies by this share, so that pages do not all return at once. */
const BACKOFF_SPREAD = 0.3;
/** A socket that is not open after this time is given up. */
const OPEN_TIMEOUT_MS = 8000;
/** A page that was out of sight for this long cannot know whether its socket still lives. */
const DOUBT_AFTER_MS = 10_000;
/** Clocks that differ by more are worth a word. */
const CLOCK_TOLERANCE_MS = 60_000;

export class Live extends EventTarget {
  /** By id, in their owner's order. @type {Map<string, Camera>} */ cameras = new Map();
  /** Whether {@link cameras} was told at all yet. */
  known = false;
  /** Whether the server tells us now. */
  connected = false;
  /** It could not be reached, or was lost, and did not come back at once. */
  lost = false;
  /** Who looks may see nothing any more. */
  over = false;
  brokerConnected = true;
  engineError = '';
  /** How far this device's clock is ahead of the server's, where that matters; else 0. In milliseconds. */
  clockAheadMs = 0;
  /** The server runs another version than the one this page came from. */
  outdated = false;

  /** @type {WebSocket | null} */ #socket = null;
  #after = '';
  #version = '';
  #failures = 0;
  #opened = false;
  #timer = 0;
  #hiddenAt = 0;

  /** Begins, once; goes on until the page is left. */
  open() {
    if (this.#opened) return;
    this.#opened = true;
    document.addEventListener('visibilitychange', () => this.#onVisibility());
    window.addEventListener('online', () => this.#renew());
    window.addEventListener('pageshow', (event) => {
      if (event.persisted) this.#renew();
    });
    this.#connect();
  }

  /** Ends for good: who looks is about to log out, and is not to be led anywhere by the socket's end. */
  leave() {
    this.over = true;
    clearTimeout(this.#timer);
    if (this.#socket) this.#socket.onclose = null;
    this.#socket?.close();
  }

  #connect() {
    clearTimeout(this.#timer);
    const url = new URL('/api/events/stream', location.href);
    url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
    if (this.#after) url.searchParams.set('after', this.#after);
    const socket = new WebSocket(url);
    this.#socket = socket;
    this.#timer = window.setTimeout(() => socket.close(), OPEN_TIMEOUT_MS);
    socket.onopen = () => clearTimeout(this.#timer);
    socket.onmessage = (event) => this.#receive(String(event.data));
    socket.onclose = () => this.#onClosed();
  }

  #onClosed() {
    clearTimeout(this.#timer);
    this.#socket = null;
    this.connected = false;
    // A browser does not say why; that nobody is logged in any more is one reason.
    void enter().then((who) => {
      if (who === 'stranger') this.#end();
    });
    const base = BACKOFF_MS[Math.min(this.#failures, BACKOFF_MS.length - 1)] ?? 0;
    this.#failures += 1;
    this.lost = this.#failures > 1;
    this.#timer = window.setTimeout(() => this.#connect(), base * (1 + BACKOFF_SPREAD * (2 * Math.random() - 1)));
    this.announce();
  }

  #end() {
    clearTimeout(this.#timer);
    this.over = true;
    this.lost = false;
    this.announce();
  }

  /** A new socket at once; the old one may be dead without knowing. */
  #renew() {
    if (this.over) return;
    if (this.#socket) {
      this.#socket.onclose = null;
      this.#socket.close();
    }
    this.#connect();
  }

  #onVisibility() {
    if (document.visibilityState === 'hidden') this.#hiddenAt = performance.now();
    else if (!this.#socket || performance.now() - this.#hiddenAt > DOUBT_AFTER_MS) this.#renew();
  }

  /** @param {string} text */
  #receive(text) {
    const message = JSON.parse(text);
    if (typeof message.id === 'string') this.#after = message.id;
    switch (message.type) {
      case 'hello':
        this.#onHello(message);
        break;
      case 'snapshot':
        this.cameras = new Map(message.cameras.map((/** @type {Camera} */ camera) => [camera.camera_id, camera]));
        this.known = true;
        this.#onSystem(message);
        break;
      case 'camera':
        this.#onCamera(message.camera);
        break;
      case 'gone':
        this.cameras.delete(message.camera_id);
        break;
      case 'event':
        this.dispatchEvent(new CustomEvent('event', { detail: message.event }));
        break;
      case 'system':
        this.#onSystem(message);
        break;
      default: // a newer server's message
    }
    this.announce();
  }

  /** @param {{time: string, version: string, resumed: boolean}} hello */
  #onHello({ time, version, resumed }) {
    this.dispatchEvent(new CustomEvent('told', { detail: { missed: !resumed } }));
    this.connected = true;
    this.lost = false;
    this.#failures = 0;
    const ahead = heardTime(time);
    this.clockAheadMs = Math.abs(ahead) > CLOCK_TOLERANCE_MS ? ahead : 0;
    this.#version ||= version;
    this.outdated = version !== this.#version;
  }

  /** @param {{broker_connected: boolean, engine_error?: string | null}} system */
  #onSystem(system) {
    this.brokerConnected = system.broker_connected;
    this.engineError = system.engine_error ?? '';
  }

  /** @param {Camera} camera */
  #onCamera(camera) {
    const moved = this.cameras.get(camera.camera_id)?.position !== camera.position;
    this.cameras.set(camera.camera_id, camera);
    if (moved) this.cameras = new Map([...this.cameras].sort(([, a], [, b]) => byPlace(a, b)));
  }

  /** Says that what pages show has changed: what is known here, or who looks. */
  announce() {
    this.dispatchEvent(new Event('change'));
  }
}

/**
 * The order that the server has: their owner's places first, the others by id.
 *
 * @param {Camera} a
 * @param {Camera} b
 */
function byPlace(a, b) {
  const place = (/** @type {Camera} */ camera) => camera.position ?? Number.MAX_SAFE_INTEGER;
  return place(a) - place(b) || (a.camera_id < b.camera_id ? -1 : 1);
}

/** What this page knows. */
export const live = new Live();

/**
 * Renders a component anew whenever something changed, as long as it is on the page.
 *
 * @implements {ReactiveController}
 */
export class Watching {
  #host;
  #onChange = () => this.#host.requestUpdate();

  /** @param {Host} host */
  constructor(host) {
    this.#host = host;
    host.addController(this);
  }

  hostConnected() {
    live.addEventListener('change', this.#onChange);
  }

  hostDisconnected() {
    live.removeEventListener('change', this.#onChange);
  }
}
