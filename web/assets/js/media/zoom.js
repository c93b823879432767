// @ts-check
/**
 * Looking closer at a picture: by wheel, by two fingers, by keys; and moving about in it by dragging. The picture stays within its
 * frame. Fires `change`.
 */

const MAX_SCALE = 8;
/** How much one notch of a wheel enlarges; most report 100 units for it. */
const WHEEL_UNIT = 0.0018;
const KEY_FACTOR = 1.4;
/** How far an arrow key moves, as a share of the frame. */
const KEY_STEP = 0.12;

export class Zoom extends EventTarget {
  /** 1: the whole picture. */
  scale = 1;
  /** Where the middle of the frame is from the picture's, in frames. */
  #x = 0;
  #y = 0;
  #frame;
  #picture;
  /** Fingers on the frame, by pointer. @type {Map<number, {x: number, y: number}>} */ #fingers = new Map();
  #lifetime = new AbortController();

  /**
   * @param {HTMLElement} frame takes the gestures
   * @param {HTMLElement} picture fills it
   */
  constructor(frame, picture) {
    super();
    this.#frame = frame;
    this.#picture = picture;
    const { signal } = this.#lifetime;
    frame.addEventListener('wheel', (event) => this.#onWheel(event), { signal, passive: false });
    frame.addEventListener('pointerdown', (event) => this.#onDown(event), { signal });
    frame.addEventListener('pointermove', (event) => this.#onMove(event), { signal });
    for (const end of /** @type {const} */ (['pointerup', 'pointercancel', 'lostpointercapture'])) {
      frame.addEventListener(end, (event) => this.#fingers.delete(event.pointerId), { signal });
    }
  }

  dispose() {
    this.#lifetime.abort();
  }

  reset() {
    this.#set(1, 0, 0);
  }

  closer() {
    this.#zoomTo(this.scale * KEY_FACTOR);
  }

  further() {
    this.#zoomTo(this.scale / KEY_FACTOR);
  }

  /**
   * By a key, while enlarged.
   *
   * @param {-1 | 0 | 1} right
   * @param {-1 | 0 | 1} down
   */
  step(right, down) {
    this.#set(this.scale, this.#x - right * KEY_STEP, this.#y - down * KEY_STEP);
  }

  /** @param {WheelEvent} event */
  #onWheel(event) {
    // A page that is longer than its window scrolls, until one looks closer with the key that browsers have for it.
    if (this.scale === 1 && event.deltaY > 0) return;
    event.preventDefault();
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 33 : 1;
    this.#zoomTo(this.scale * Math.exp(-event.deltaY * unit * WHEEL_UNIT), this.#place(event));
  }

  /** @param {PointerEvent} event */
  #onDown(event) {
    if (event.button !== 0 || (event.target instanceof Element && event.target.closest('button, a'))) return;
    this.#fingers.set(event.pointerId, this.#place(event));
    if (this.#fingers.size === 2 || this.scale > 1) this.#frame.setPointerCapture(event.pointerId);
  }

  /** @param {PointerEvent} event */
  #onMove(event) {
    const before = this.#fingers.get(event.pointerId);
    if (!before) return;
    const now = this.#place(event);
    const other = [...this.#fingers].find(([id]) => id !== event.pointerId)?.[1];
    this.#fingers.set(event.pointerId, now);
    if (other) {
      const apart = Math.hypot(now.x - other.x, now.y - other.y) / Math.max(0.01, Math.hypot(before.x - other.x, before.y - other.y));
      this.#zoomTo(this.scale * apart, { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
    } else if (this.scale > 1) {
      this.#set(this.scale, this.#x + now.x - before.x, this.#y + now.y - before.y);
    }
  }

  /**
   * @param {{clientX: number, clientY: number}} event
   * @returns {{x: number, y: number}} from the middle of the frame, in frames
   */
  #place(event) {
    const frame = this.#frame.getBoundingClientRect();
    return { x: (event.clientX - frame.left) / frame.width - 0.5, y: (event.clientY - frame.top) / frame.height - 0.5 };
  }

  /**
   * @param {number} scale
   * @param {{x: number, y: number}} [around] stays where it is
   */
  #zoomTo(scale, around = { x: 0, y: 0 }) {
    const bounded = Math.min(MAX_SCALE, Math.max(1, scale));
    const factor = bounded / this.scale;
    this.#set(bounded, around.x - (around.x - this.#x) * factor, around.y - (around.y - this.#y) * factor);
  }

  /**
   * @param {number} scale
   * @param {number} x
   * @param {number} y
   */
  #set(scale, x, y) {
    const reach = (scale - 1) / 2;
    this.scale = scale;
    this.#x = Math.min(reach, Math.max(-reach, x));
    this.#y = Math.min(reach, Math.max(-reach, y));
    this.#picture.style.transform = scale === 1 ? '' : `translate(${this.#x * 100}%, ${this.#y * 100}%) scale(${scale})`;
    this.#frame.classList.toggle('enlarged', scale > 1);
    this.dispatchEvent(new Event('change'));
  }
}
