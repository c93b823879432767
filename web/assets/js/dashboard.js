// @ts-check
/**
 * The dashboard: every camera as a tile, its live picture in it while the tile can be seen.
 *
 * Everything that comes from a camera is set as text, never as markup.
 */
import { ApiError, listCameras } from './api.js';
import { enter } from './session.js';
import { Tile } from './tile.js';
import { counted } from './words.js';

const POLL_EVERY_MS = 2000;
const LIVE_PICTURES_KEY = 'apiary.live-pictures';

const page = {
  grid: byId('grid'),
  notice: byId('notice'),
  empty: byId('empty'),
  summary: byId('summary'),
  livePictures: /** @type {HTMLInputElement} */ (byId('live-pictures')),
};
/** @type {Map<string, Tile>} */
const tiles = new Map();
let pollTimer = 0;

page.livePictures.checked = localStorage.getItem(LIVE_PICTURES_KEY) !== 'off';
page.livePictures.addEventListener('change', () => {
  localStorage.setItem(LIVE_PICTURES_KEY, page.livePictures.checked ? 'on' : 'off');
  decidePictures();
});
document.addEventListener('visibilitychange', () => {
  decidePictures();
  if (document.visibilityState === 'visible') void poll();
});

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const tile = [...tiles.values()].find((candidate) => candidate.element === entry.target);
    if (tile) tile.onScreen = entry.isIntersecting;
  }
  decidePictures();
}, { rootMargin: '120px' });

void enter().then((me) => {
  const link = byId('account');
  link.textContent = me?.user?.name ?? '';
  link.hidden = !me?.accounts || !me.user || me.user.guest;
});
void poll();

async function poll() {
  clearTimeout(pollTimer);
  try {
    const asked = performance.now();
    show(await listCameras(), asked);
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return void enter();
    notify(error instanceof ApiError ? `${error.message} Trying again…` : String(error), true);
  }
  clearTimeout(pollTimer);
  if (document.visibilityState === 'visible') pollTimer = window.setTimeout(() => void poll(), POLL_EVERY_MS);
}

/**
 * @param {import('./api.js').CameraList} list
 * @param {number} asked when it was asked for
 */
function show(list, asked) {
  const known = new Set(list.cameras.map((camera) => camera.camera_id));
  for (const [id, tile] of tiles) {
    if (known.has(id)) continue;
    watcher.unobserve(tile.element);
    tile.remove();
    tiles.delete(id);
  }
  for (const camera of list.cameras) {
    const tile = tiles.get(camera.camera_id) ?? addTile(camera.camera_id);
    tile.update(camera, asked);
  }
  page.empty.hidden = list.cameras.length > 0;
  summarise(list.cameras);
  notify(trouble(list), true);
  decidePictures();
}

/**
 * What keeps all cameras from being seen, if anything does.
 *
 * @param {import('./api.js').CameraList} list
 */
function trouble(list) {
  if (!list.broker_connected) return 'The MQTT broker cannot be reached, so cameras cannot be commanded. Run “apiary check” to see why.';
  if (list.engine_error) return `Pictures cannot be shown: ${list.engine_error}.`;
  return '';
}

/** @param {string} id */
function addTile(id) {
  const tile = new Tile(id, () => void poll());
  tiles.set(id, tile);
  page.grid.append(tile.element);
  watcher.observe(tile.element);
  return tile;
}

function decidePictures() {
  const allowed = page.livePictures.checked && document.visibilityState === 'visible';
  for (const tile of tiles.values()) tile.decidePicture(allowed);
}

/** @param {import('./api.js').Camera[]} cameras */
function summarise(cameras) {
  const live = cameras.filter((camera) => camera.stream?.state === 'active').length;
  const viewers = cameras.reduce((sum, camera) => sum + (camera.stream?.viewer_count ?? 0), 0);
  const text = cameras.length === 0
    ? 'No cameras'
    : `${counted(cameras.length, 'camera')} · ${live} live · ${counted(viewers, 'viewer')}`;
  if (page.summary.textContent !== text) page.summary.textContent = text;
}

/**
 * @param {string} text
 * @param {boolean} bad
 */
function notify(text, bad) {
  page.notice.hidden = text === '';
  page.notice.classList.toggle('bad', bad);
  if (page.notice.textContent !== text) page.notice.textContent = text;
}

/** @param {string} id */
function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page lacks #${id}`);
  return element;
}
