// @ts-check
/**
 * The wall: every camera as a tile, in rooms, in their owner's order.
 *
 * @typedef {import('../api.js').Camera} Camera
 * @typedef {{name: string, cameras: Camera[]}} Room
 */
import { html, nothing, repeat } from '../../vendor/lit.js';
import { t } from '../i18n/i18n.js';
import { live, Watching } from '../live.js';
import { Awake } from '../media/awake.js';
import { AppElement } from '../parts/element.js';
import { icon, mark } from '../parts/icons.js';
import '../parts/tile.js';
import { me } from '../session.js';
import { Arranging } from './arranging.js';

const PICTURES_KEY = 'apiary.live-pictures';
const LAYOUT_KEY = 'apiary.layout';
/** How large tiles are. @type {('auto' | 'large' | 'small')[]} */
const LAYOUTS = ['auto', 'large', 'small'];

export class Wall extends AppElement {
  static properties = { pictures: { state: true }, layout: { state: true }, visible: { state: true } };

  #arranging = new Arranging(this);
  #lifetime = new AbortController();

  constructor() {
    super();
    new Watching(this);
    new Awake(this);
    /** Whether live pictures are wanted. */ this.pictures = localStorage.getItem(PICTURES_KEY) !== 'off';
    this.layout = localStorage.getItem(LAYOUT_KEY) ?? 'auto';
    this.visible = document.visibilityState === 'visible';
  }

  connectedCallback() {
    super.connectedCallback();
    document.title = 'Apiary';
    this.#lifetime = new AbortController();
    const until = { signal: this.#lifetime.signal };
    document.addEventListener('visibilitychange', () => { this.visible = document.visibilityState === 'visible'; }, until);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.#lifetime.abort();
  }

  render() {
    const cameras = this.#arranging.order([...live.cameras.values()]);
    const house = rooms(cameras);
    return html`
      <h1 class="visually-hidden">${t('nav.cameras')}</h1>
      <div class="toolbar" ?hidden=${cameras.length === 0}>
        <p class="summary" id="summary" aria-live="polite">${summary(cameras)}</p>
        <label class="switch">
          <input type="checkbox" id="live-pictures" role="switch" .checked=${this.pictures} @change=${this.#onPictures}>
          <span class="track" aria-hidden="true"></span><span>${t('wall.pictures')}</span>
        </label>
        <label class="select"><span class="visually-hidden">${t('wall.layout')}</span>
          <select id="layout" @change=${this.#onLayout}>
            ${LAYOUTS.map((layout) => html`<option value=${layout} ?selected=${layout === this.layout}>${t(`layout.${layout}`)}</option>`)}
          </select></label>
        ${me.mayOperate && cameras.length > 1
          ? html`<button type="button" class="button quiet" id="arrange" aria-pressed=${this.#arranging.on}
              @click=${() => this.#arranging.toggle()}>${icon('move')}${t('wall.arrange')}</button>`
          : nothing}
        <button type="button" class="button quiet" id="wall-fullscreen" @click=${this.#onFullScreen}>${icon('enlarge')}${t('full-screen')}</button>
      </div>
      <p class="hint" ?hidden=${!this.#arranging.on}>${t('wall.arrange-hint')}</p>
      <div class="wall" data-layout=${this.layout} data-arranging=${this.#arranging.on}>
        ${live.known && cameras.length === 0 ? this.#empty() : repeat(house, (room) => room.name, (room) => this.#room(room, house.length === 1))}
      </div>`;
  }

  /**
   * @param {Room} room
   * @param {boolean} alone whether it is the only one
   */
  #room(room, alone) {
    const pictures = this.pictures && this.visible && !this.#arranging.on;
    return html`<section class="room" data-room=${room.name}>
      <h2 class="room-name ${room.name || !alone ? '' : 'visually-hidden'}">${room.name || t('wall.elsewhere')}</h2>
      <ul class="grid">${repeat(room.cameras, (camera) => camera.camera_id, (camera) => html`<li>
        <apiary-tile .camera=${camera} .pictures=${pictures} .arranging=${this.#arranging.on}></apiary-tile></li>`)}</ul>
    </section>`;
  }

  #empty() {
    return html`<section class="empty" id="empty">
      ${mark()}
      <h2>${t('wall.empty')}</h2>
      <p>${t('wall.empty-hint')}</p>
      ${me.isAdmin ? html`<a class="button primary" href="/welcome">${t('welcome.open')}</a>` : nothing}
    </section>`;
  }

  /** @param {Event} event */
  #onPictures(event) {
    this.pictures = /** @type {HTMLInputElement} */ (event.target).checked;
    localStorage.setItem(PICTURES_KEY, this.pictures ? 'on' : 'off');
  }

  /** @param {Event} event */
  #onLayout(event) {
    this.layout = /** @type {HTMLSelectElement} */ (event.target).value;
    localStorage.setItem(LAYOUT_KEY, this.layout);
  }

  async #onFullScreen() {
    try {
      await this.find('.wall', HTMLElement).requestFullscreen();
    } catch {
      // Browsers that have none for pages, such as Safari on iPhones, offer installing instead.
    }
  }
}
customElements.define('apiary-wall', Wall);

/**
 * Rooms in the order of their first cameras; those without a room come last.
 *
 * @param {Camera[]} cameras
 * @returns {Room[]}
 */
function rooms(cameras) {
  /** @type {Map<string, Room>} */ const found = new Map();
  for (const camera of cameras) {
    const name = camera.room ?? '';
    const room = found.get(name) ?? { name, cameras: [] };
    room.cameras.push(camera);
    found.set(name, room);
  }
  return [...found.values()].sort((a, b) => Number(a.name === '') - Number(b.name === ''));
}

/** @param {Camera[]} cameras */
function summary(cameras) {
  const running = cameras.filter((camera) => camera.stream?.state === 'active').length;
  const viewers = cameras.reduce((sum, camera) => sum + (camera.stream?.viewer_count ?? 0), 0);
  return [t('cameras', { n: cameras.length }), t('wall.live', { n: running }), t('viewers', { n: viewers })].join(' · ');
}
