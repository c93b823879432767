// @ts-check
/**
 * Putting cameras into another order: by dragging a tile's handle, or with the arrow keys on it. A tile that is put among those of
 * another room moves into that room. The server keeps the order once the tile is let go.
 *
 * @typedef {import('../api.js').Camera} Camera
 * @typedef {import('../../vendor/lit.js').ReactiveControllerHost & HTMLElement} Host
 * @typedef {{position: number, room: string | null}} Place
 */
import { call } from '../api.js';
import { live } from '../live.js';
import { attempt } from '../parts/notice.js';

/** What keys do to the place of a tile. @type {Record<string, number>} */
const STEPS = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };

export class Arranging {
  /** Whether tiles can be moved now. */
  on = false;

  #host;
  /** The order on the page while it is not yet the server's: places and rooms. @type {Map<string, Place>} */
  #moved = new Map();
  /** The server has taken that order. */
  #kept = false;
  /** The camera that is being dragged. */
  #dragged = '';
  /** What {@link order} gave last. @type {Camera[]} */ #shown = [];

  /** @param {Host} host */
  constructor(host) {
    this.#host = host;
    host.addController(this);
  }

  hostConnected() {
    this.#host.addEventListener('pointerdown', this.#onDown);
    this.#host.addEventListener('keydown', this.#onKey);
  }

  hostDisconnected() {
    this.#host.removeEventListener('pointerdown', this.#onDown);
    this.#host.removeEventListener('keydown', this.#onKey);
  }

  toggle() {
    this.on = !this.on;
    this.#host.requestUpdate();
  }

  /**
   * The cameras as they are to be shown now.
   *
   * @param {Camera[]} cameras
   */
  order(cameras) {
    if (this.#kept && cameras.every((camera) => isAt(camera, this.#moved.get(camera.camera_id)))) this.#forget();
    const place = (/** @type {Camera} */ camera, /** @type {number} */ index) => this.#moved.get(camera.camera_id)?.position ?? index;
    this.#shown = cameras
      .map((camera, index) => ({ place: place(camera, index), camera: { ...camera, ...this.#moved.get(camera.camera_id) } }))
      .sort((a, b) => a.place - b.place)
      .map(({ camera }) => camera);
    return this.#moved.size > 0 ? this.#shown : cameras;
  }

  #onDown = (/** @type {PointerEvent} */ event) => {
    const handle = event.target instanceof Element ? event.target.closest('.handle') : null;
    if (!this.on || !handle) return;
    event.preventDefault();
    this.#dragged = tileOf(handle);
    const ended = new AbortController();
    const { signal } = ended;
    // On the document: the tile's own elements move about while it is dragged.
    document.addEventListener('pointermove', (move) => this.#onMove(move), { signal });
    for (const end of ['pointerup', 'pointercancel']) {
      document.addEventListener(end, () => {
        ended.abort();
        this.#dragged = '';
        void this.#keep();
      }, { signal });
    }
  };

  /** @param {PointerEvent} event */
  #onMove(event) {
    const under = document.elementFromPoint(event.clientX, event.clientY)?.closest('.tile');
    const target = under ? tileOf(under) : '';
    if (target && target !== this.#dragged) this.#put(this.#dragged, target);
  }

  #onKey = (/** @type {KeyboardEvent} */ event) => {
    const handle = event.target instanceof HTMLElement ? event.target.closest('.handle') : null;
    const step = STEPS[event.key];
    if (!this.on || !handle || !step) return;
    event.preventDefault();
    const camera = tileOf(handle);
    const target = this.#shown[this.#shown.findIndex((shown) => shown.camera_id === camera) + step];
    if (!target) return;
    this.#put(camera, target.camera_id);
    void this.#keep();
    // The tile moves within the page, and takes the focus with it only if it is told.
    void this.#host.updateComplete.then(() => {
      /** @type {HTMLElement | null} */ (this.#host.querySelector(`[data-camera="${CSS.escape(camera)}"] .handle`))?.focus();
    });
  };

  /**
   * @param {string} camera
   * @param {string} target whose place and room it takes
   */
  #put(camera, target) {
    const ids = this.#shown.map((shown) => shown.camera_id);
    const to = ids.indexOf(target);
    ids.splice(ids.indexOf(camera), 1);
    ids.splice(to, 0, camera);
    const room = this.#shown.find((shown) => shown.camera_id === target)?.room ?? null;
    const roomOf = new Map(this.#shown.map((shown) => [shown.camera_id, shown.room]));
    this.#moved = new Map(ids.map((id, position) => [id, { position, room: id === camera ? room : roomOf.get(id) ?? null }]));
    this.#host.requestUpdate();
  }

  /** Has the server keep what differs. What it refuses is as it was. */
  async #keep() {
    const wanted = this.#moved;
    const kept = await attempt(async () => {
      for (const [id, place] of wanted) {
        const camera = live.cameras.get(id);
        if (camera && !isAt(camera, place)) await call('PATCH', `/cameras/${id}`, place);
      }
    });
    if (this.#moved !== wanted) return; // moved on meanwhile
    // The news of it come a moment later; until then the page shows what it knows to be so.
    if (kept) this.#kept = true;
    else this.#forget();
    this.#host.requestUpdate();
  }

  #forget() {
    this.#moved = new Map();
    this.#kept = false;
  }
}

/**
 * @param {Camera} camera
 * @param {Place | undefined} place
 */
function isAt(camera, place) {
  return !place || (camera.position === place.position && camera.room === place.room);
}

/** @param {Element} element in a tile, or the tile */
function tileOf(element) {
  return /** @type {HTMLElement | null} */ (element.closest('.tile'))?.dataset.camera ?? '';
}
