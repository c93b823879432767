// @ts-check
/**
 * What happened to a camera, in words. No DOM here.
 *
 * @typedef {import('./api.js').CameraEvent} CameraEvent
 */
import { t, text } from './i18n/i18n.js';
import { activity } from './words.js';

/** Kinds of events, as one can choose among them. */
export const KINDS = /** @type {const} */ (['activity_start', 'connection', 'status', 'state']);

/**
 * @param {CameraEvent} event
 * @returns {import('./words.js').Words}
 */
export function eventWords(event) {
  switch (event.kind) {
    case 'activity_start': return { text: t('event.activity-start', { what: activity(event.activity_type) }), tone: 'wait' };
    case 'activity_stop': return { text: t('event.activity-stop', { what: activity(event.activity_type) }), tone: 'idle' };
    case 'connection': return event.detail === 'connected'
      ? { text: t('event.connected'), tone: 'good' }
      : { text: t('event.disconnected'), tone: 'bad' };
    case 'state': return { text: t('event.state', { mode: modeWords(event.detail) }), tone: 'idle' };
    default: return { text: t('event.status', { status: event.detail ?? '–' }), tone: 'idle' };
  }
}

/** @param {string | null | undefined} mode */
export function modeWords(mode) {
  return (mode && text(`mode.${mode}`)) || mode || t('mode.unknown');
}
