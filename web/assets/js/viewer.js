// @ts-check
/**
 * The viewer page: one camera, large, with what the connection does in words and numbers.
 *
 * Everything that comes from a camera or a URL is set as text, never as markup.
 */
import { startStream, stopStream } from './api.js';
import { Player } from './player.js';
import { enter } from './session.js';
import { bitrate, cameraName, iceState, streamState } from './words.js';

/** What a camera id looks like. */
const CAMERA_ID = /^[0-9a-f]{32}$/i;
/** The log keeps this many lines. */
const LOG_LINES = 100;

const camera = (new URLSearchParams(location.search).get('camera') ?? '').toUpperCase();
const video = /** @type {HTMLVideoElement} */ (byId('video'));
const player = new Player(camera, video);
/** What the server last said of the stream. @type {import('./attempt.js').StreamState} */
let stream = { state: 'idle' };
/** A start or stop is under way. */
let busy = false;

if (CAMERA_ID.test(camera)) begin();
else refuse();
void enter();

function begin() {
  const name = cameraName(camera);
  document.title = `${name} · Apiary`;
  byId('name').textContent = name;
  byId('camera-id').textContent = camera;
  player.addEventListener('phase', onPhase);
  player.addEventListener('sample', renderNumbers);
  player.addEventListener('ice', onIce);
  player.addEventListener('stream', (event) => onStream(/** @type {CustomEvent} */ (event).detail));
  player.addEventListener('log', (event) => {
    const { text, tone } = /** @type {CustomEvent} */ (event).detail;
    log(text, tone);
  });
  byId('sound').addEventListener('click', toggleSound);
  byId('toggle').addEventListener('click', () => void toggleStream());
  byId('play').addEventListener('click', () => void player.resume().then(render));
  byId('fullscreen').addEventListener('click', () => void toggleFullScreen());
  video.addEventListener('volumechange', renderSound);
  video.addEventListener('dblclick', () => void toggleFullScreen());
  // The page that goes says so at once; the server would notice only after seconds.
  window.addEventListener('pagehide', (event) => {
    if (!event.persisted) player.stop();
  });
  player.play();
}

function refuse() {
  byId('name').textContent = 'No such camera';
  byId('veil-text').textContent = 'The address of this page needs ?camera= with a camera id: 32 hexadecimal digits. Choose a camera on the dashboard.';
  byId('stage').dataset.veil = 'full';
  byId('pill').dataset.tone = 'bad';
  byId('pill-text').textContent = 'No camera';
  for (const id of ['sound', 'toggle', 'fullscreen']) /** @type {HTMLButtonElement} */ (byId(id)).disabled = true;
}

/** @param {typeof stream} said */
function onStream(said) {
  const before = streamState(stream.state, stream.health).text;
  const now = streamState(said.state, said.health);
  stream = said;
  if (before !== now.text) log(said.message ? `${now.text}: ${said.message}` : `Stream: ${now.text.toLowerCase()}`, now.tone);
  render();
}

function onPhase() {
  const { phase, detail } = player;
  if (phase === 'stopped' || phase === 'failed') stream = { state: phase === 'failed' ? 'error' : 'stopped' };
  if (phase === 'playing') log('Picture is live', 'good');
  else if (detail && phase !== 'stopped' && phase !== 'failed') log(detail, '');
  render();
}

function onIce() {
  if (player.iceState !== 'closed') log(`ICE: ${iceState(player.iceState).toLowerCase()}`, '');
  renderNumbers();
}

function render() {
  const { phase, detail, needsClick } = player;
  const words = pillWords();
  byId('pill').dataset.tone = words.tone;
  setText('pill-text', words.text);
  const stage = byId('stage');
  stage.dataset.phase = phase;
  stage.dataset.veil = needsClick ? 'dim' : { playing: 'none', stalled: 'dim' }[/** @type {string} */ (phase)] ?? 'full';
  stage.dataset.busy = String(!needsClick && (busy || ['connecting', 'waiting', 'retrying', 'stalled'].includes(phase)));
  setText('veil-text', needsClick ? 'The browser waits for a click before it plays.' : detail || 'Not playing');
  byId('play').hidden = !needsClick;
  const toggle = /** @type {HTMLButtonElement} */ (byId('toggle'));
  toggle.dataset.does = player.wanted ? 'stop' : 'start';
  toggle.disabled = busy;
  setText('toggle-text', player.wanted ? 'Stop' : 'Start');
  renderSound();
  renderNumbers();
}

/** @returns {{text: string, tone: string}} */
function pillWords() {
  switch (player.phase) {
    case 'playing': return streamState('active', stream.health);
    case 'stalled': return { text: 'Picture lost', tone: 'wait' };
    case 'waiting': return { text: 'Starting', tone: 'wait' };
    case 'connecting': return { text: 'Connecting', tone: 'wait' };
    case 'retrying': return { text: 'Reconnecting', tone: 'wait' };
    case 'failed': return { text: 'Failed', tone: 'bad' };
    default: return { text: 'Stopped', tone: 'idle' };
  }
}

function renderNumbers() {
  const sample = player.sample;
  setText('stat-state', pillWords().text);
  setText('stat-ice', iceState(player.iceState));
  setText('stat-bitrate', bitrate(sample?.bitrateKbps));
  setText('stat-resolution', sample && sample.height > 0 ? `${sample.width} × ${sample.height}` : '–');
  setText('stat-fps', sample?.fps === null || !sample ? '–' : sample.fps.toFixed(0));
  setText('stat-loss', sample?.lossPercent === null || !sample ? '–' : `${sample.lossPercent.toFixed(1)} % (${sample.lost})`);
  setText('stat-rtt', sample?.roundTripMs === null || !sample ? '–' : `${sample.roundTripMs.toFixed(0)} ms`);
  setText('stat-viewers', stream.viewers === undefined ? '–' : String(stream.viewers));
}

function toggleSound() {
  video.muted = !video.muted;
  log(video.muted ? 'Sound off' : 'Sound on', '');
  if (video.paused) void player.resume();
}

function renderSound() {
  byId('sound').setAttribute('aria-pressed', String(!video.muted));
  setText('sound-text', video.muted ? 'Sound is off' : 'Sound is on');
}

async function toggleStream() {
  const stopping = player.wanted;
  busy = true;
  render();
  try {
    if (stopping) {
      log('Stopping the camera', '');
      player.stop('The camera is stopped.');
      stream = { state: 'stopped' };
      await stopStream(camera);
    } else {
      log('Starting the camera', '');
      await startStream(camera);
      player.play();
    }
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    log(text, 'bad');
    player.stop(text);
  }
  busy = false;
  render();
}

async function toggleFullScreen() {
  const stage = byId('stage');
  try {
    if (document.fullscreenElement) await document.exitFullscreen();
    else if (stage.requestFullscreen) await stage.requestFullscreen();
    else /** @type {any} */ (video).webkitEnterFullscreen?.(); // Safari on iPhones: only the video itself
  } catch {
    log('The browser refused full screen', 'bad');
  }
}

/**
 * @param {string} text
 * @param {string} tone
 */
function log(text, tone) {
  const list = byId('log');
  const line = document.createElement('li');
  const time = document.createElement('time');
  const words = document.createElement('span');
  const now = new Date();
  time.dateTime = now.toISOString();
  time.textContent = now.toLocaleTimeString([], { hour12: false });
  words.textContent = text;
  line.dataset.tone = tone;
  line.append(time, words);
  list.append(line);
  while (list.childElementCount > LOG_LINES) list.firstElementChild?.remove();
  list.scrollTop = list.scrollHeight;
}

/**
 * @param {string} id
 * @param {string} text
 */
function setText(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

/** @param {string} id */
function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page lacks #${id}`);
  return element;
}
