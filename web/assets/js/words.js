// @ts-check
/**
 * How things are called on the pages: states, numbers, times. No DOM here.
 *
 * @typedef {import('./api.js').Camera} Camera
 * @typedef {'good' | 'wait' | 'bad' | 'idle'} Tone
 * @typedef {{text: string, tone: Tone}} Words
 */
import { now } from './clock.js';
import { language, t, text } from './i18n/i18n.js';

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

/**
 * @param {string} cameraId
 * @param {string | null} [name] what its owner calls it
 */
export function cameraName(cameraId, name) {
  return name || t('camera.unnamed', { id: cameraId.slice(0, 8) });
}

/**
 * How a camera stands, in a few words.
 *
 * @param {Camera} camera
 * @returns {Words}
 */
export function cameraState(camera) {
  const { stream, online } = camera;
  if (stream && ['starting', 'active', 'stopping'].includes(stream.state)) return streamState(stream.state, stream.health);
  if (online === false) {
    const since = camera.last_seen;
    return { text: since ? t('state.offline-since', { time: moment(since) }) : t('state.offline'), tone: 'idle' };
  }
  if (stream?.state === 'error') return { text: t('state.no-picture'), tone: 'bad' };
  if (!online) return { text: t('state.unheard'), tone: 'idle' };
  return { text: camera.mode === 'PRIVACY' ? t('state.privacy') : t('state.asleep'), tone: 'idle' };
}

/**
 * @param {string} state
 * @param {string} [health]
 * @returns {Words}
 */
export function streamState(state, health) {
  switch (state) {
    case 'starting': return { text: t('state.starting'), tone: 'wait' };
    case 'active':
      if (health === 'stalled') return { text: t('state.stalled'), tone: 'wait' };
      return health === 'degraded' ? { text: t('state.unsteady'), tone: 'wait' } : { text: t('state.live'), tone: 'good' };
    case 'stopping': return { text: t('state.stopping'), tone: 'wait' };
    case 'stopped': return { text: t('state.stopped'), tone: 'idle' };
    case 'error': return { text: t('state.failed'), tone: 'bad' };
    default: return { text: t('state.asleep'), tone: 'idle' };
  }
}

/** @param {number | null | undefined} kbps */
export function bitrate(kbps) {
  if (kbps === null || kbps === undefined) return '–';
  return kbps >= 1000
    ? `${number(kbps / 1000, 1)} Mbit/s`
    : `${number(kbps)} kbit/s`;
}

/**
 * @param {number} value
 * @param {number} [digits] behind the point
 */
export function number(value, digits = 0) {
  return value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/**
 * A moment as short as it is clear: 14:05, or with the day when it was not today.
 *
 * @param {string | number | Date} when
 */
export function moment(when) {
  const date = new Date(when);
  const today = date.toDateString() === new Date(now()).toDateString();
  return date.toLocaleString(language, today
    ? { hour: '2-digit', minute: '2-digit' }
    : { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', ...(thisYear(date) ? {} : { year: 'numeric' }) });
}

/**
 * Clock time with seconds.
 *
 * @param {string | number | Date} when
 */
export function clock(when) {
  return new Date(when).toLocaleTimeString(language, { hour12: false });
}

/**
 * A day as a heading: Today, Yesterday, 3 March.
 *
 * @param {string | number | Date} when
 */
export function day(when) {
  const date = new Date(when);
  if (date.toDateString() === new Date(now()).toDateString()) return t('time.today');
  if (date.toDateString() === new Date(now() - DAY_MS).toDateString()) return t('time.yesterday');
  return date.toLocaleDateString(language, { weekday: 'long', day: 'numeric', month: 'long', ...(thisYear(date) ? {} : { year: 'numeric' }) });
}

/** @param {Date} date */
function thisYear(date) {
  return date.getFullYear() === new Date(now()).getFullYear();
}

/**
 * What a camera noticed: a person, motion, a sound.
 *
 * @param {string | null | undefined} type
 */
export function activity(type) {
  return (type && text(`activity.${type}`)) || type || t('activity.unknown');
}

/** @param {string} role */
export function roleWords(role) {
  return text(`role.${role}`) ?? role;
}

/** @param {string} state an `RTCIceConnectionState` */
export function iceState(state) {
  return text(`ice.${state}`) ?? state;
}

/**
 * The text as a sentence: a capital at its start and a full stop at its end.
 * @param {string} words
 */
export function sentence(words) {
  const trimmed = words.trim();
  if (!trimmed) return '';
  return trimmed[0]?.toUpperCase() + trimmed.slice(1) + (/[.!?…]$/.test(trimmed) ? '' : '.');
}
