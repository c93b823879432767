// @ts-check
/**
 * What happened to cameras, newest first, and what happens while one looks.
 *
 * @typedef {import('../api.js').CameraEvent} CameraEvent
 */
import { html, nothing, repeat } from '../../vendor/lit.js';
import { call } from '../api.js';
import { eventWords, KINDS } from '../happenings.js';
import { t } from '../i18n/i18n.js';
import { live, Watching } from '../live.js';
import { AppElement } from '../parts/element.js';
import { activityIcon } from '../parts/badges.js';
import { icon } from '../parts/icons.js';
import { attempt } from '../parts/notice.js';
import { cameraName, clock, day, number } from '../words.js';

const PAGE = 50;

export class Events extends AppElement {
  static properties = {
    events: { state: true }, next: { state: true }, camera: { state: true }, kind: { state: true }, read: { state: true }, reading: { state: true },
  };

  /** What was told since the list was last asked for, which may not have it. @type {CameraEvent[]} */ #told = [];
  /** Which reading of the list counts: the last that began at its top. */ #reading = 0;

  #onEvent = (/** @type {Event} */ news) => this.#add(/** @type {CustomEvent<CameraEvent>} */ (news).detail);

  #onTold = (/** @type {Event} */ news) => {
    if (/** @type {CustomEvent} */ (news).detail.missed || !this.read) void this.#load('');
  };

  constructor() {
    super();
    new Watching(this);
    /** @type {CameraEvent[]} */ this.events = [];
    /** Where the list goes on; null at its end. @type {string | null} */ this.next = null;
    /** Of which camera alone. */ this.camera = '';
    /** Of which kind alone. */ this.kind = '';
    /** Whether the list was read at all. */ this.read = false;
    /** Whether it is being read further. */ this.reading = false;
  }

  connectedCallback() {
    super.connectedCallback();
    document.title = `${t('nav.events')} · Apiary`;
    live.addEventListener('event', this.#onEvent);
    live.addEventListener('told', this.#onTold);
    void this.#load('');
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    live.removeEventListener('event', this.#onEvent);
    live.removeEventListener('told', this.#onTold);
  }

  /** @param {CameraEvent} event */
  #add(event) {
    const wanted = (!this.camera || event.camera_id === this.camera) && (!this.kind || event.kind === this.kind);
    if (!wanted || this.events.some(({ id }) => id === event.id)) return;
    this.#told = [event, ...this.#told];
    this.events = [event, ...this.events];
  }

  /** @param {string} before '' for the newest */
  async #load(before) {
    const query = new URLSearchParams({ limit: String(PAGE) });
    for (const [name, value] of Object.entries({ before, camera: this.camera, kind: this.kind })) {
      if (value) query.set(name, value);
    }
    if (!before) {
      this.#told = [];
      this.#reading += 1;
    }
    const reading = this.#reading;
    this.reading = true;
    await attempt(async () => {
      const { events, next } = await call('GET', `/api/events?${query}`);
      if (reading !== this.#reading) return; // it was asked for anew meanwhile
      this.events = before ? [...this.events, ...without(events, this.events)] : [...without(this.#told, events), ...events];
      this.next = next ?? null;
      this.read = true;
    });
    if (reading === this.#reading) this.reading = false;
  }

  render() {
    return html`<div class="toolbar">
        <h1>${t('nav.events')}</h1><span class="grow"></span>
        <label class="select"><span class="visually-hidden">${t('events.camera')}</span><select id="events-camera" @change=${this.#choose('camera')}>
          <option value="">${t('cameras.all')}</option>
          ${[...live.cameras.values()].map((camera) => html`<option value=${camera.camera_id} ?selected=${camera.camera_id === this.camera}>${cameraName(camera.camera_id, camera.name)}</option>`)}
        </select></label>
        <label class="select"><span class="visually-hidden">${t('events.kind')}</span><select id="events-kind" @change=${this.#choose('kind')}>
          <option value="">${t('events.all')}</option>
          ${KINDS.map((kind) => html`<option value=${kind}>${t(`events.${kind}`)}</option>`)}
        </select></label>
      </div>
      <div class="panel happenings" id="events" aria-live="polite">
        ${repeat(byDay(this.events), ([name]) => name, ([name, events]) => html`<h2>${name}</h2><ul class="rows">${repeat(events, ({ id }) => id, row)}</ul>`)}
        ${this.read && this.events.length === 0 ? html`<p class="hint">${t('events.none')}</p>` : nothing}
        ${this.next ? html`<button type="button" class="button" id="more" ?disabled=${this.reading} @click=${() => this.#load(this.next ?? '')}>${t('events.more')}</button>` : nothing}
      </div>`;
  }

  /** @param {'camera' | 'kind'} which */
  #choose(which) {
    return (/** @type {Event} */ event) => {
      this[which] = /** @type {HTMLSelectElement} */ (event.target).value;
      void this.#load('');
    };
  }
}
customElements.define('apiary-events', Events);

/**
 * @param {CameraEvent[]} some
 * @param {CameraEvent[]} others
 */
function without(some, others) {
  const ids = new Set(others.map(({ id }) => id));
  return some.filter(({ id }) => !ids.has(id));
}

/** @param {CameraEvent} event */
function row(event) {
  const { text, tone } = eventWords(event);
  const camera = live.cameras.get(event.camera_id);
  const sure = event.confidence === null || event.confidence === undefined ? '' : t('events.sure', { percent: number(event.confidence * (event.confidence <= 1 ? 100 : 1)) });
  return html`<li data-tone=${tone}>
    <span class="event-icon">${icon(event.kind.startsWith('activity') ? activityIcon(event.activity_type ?? '') : 'cameras')}</span>
    <div class="names"><p class="row-title">${text}</p>
      <p class="facts"><a href="/viewer?camera=${event.camera_id}">${cameraName(event.camera_id, camera?.name)}</a>${sure ? ` · ${sure}` : nothing}</p></div>
    <time datetime=${event.at}>${clock(event.at)}</time>
  </li>`;
}

/**
 * @param {CameraEvent[]} events
 * @returns {[string, CameraEvent[]][]}
 */
function byDay(events) {
  /** @type {Map<string, CameraEvent[]>} */ const days = new Map();
  for (const event of events) {
    const name = day(event.at);
    days.set(name, [...(days.get(name) ?? []), event]);
  }
  return [...days];
}
