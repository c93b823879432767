// @ts-check
/** What a camera tells of itself beside its picture: what it notices, battery, radio. */
import { html, nothing } from '../../vendor/lit.js';
import { t } from '../i18n/i18n.js';
import { activity, moment, number } from '../words.js';
import { icon } from './icons.js';

/** A battery with less is worth a glance. In per cent. */
const LOW_BATTERY = 20;
/** Radio that is received worse loses packets. In dBm. */
const WEAK_SIGNAL = -75;

/** @param {import('../api.js').Camera} camera */
export function badges(camera) {
  const { battery_percent: battery, signal, activity: noticed, talking_since: talking } = camera;
  if (battery == null && signal == null && !noticed && !talking) return nothing;
  return html`<span class="badges">
    ${talking ? badge('talk', t('talk.others'), t('badge.since', { time: moment(talking) }), 'alert') : nothing}
    ${noticed ? badge(activityIcon(noticed.type), activity(noticed.type), t('badge.since', { time: moment(noticed.since) }), 'alert') : nothing}
    ${battery == null ? nothing : badge('battery', `${number(battery)} %`, t('badge.battery'), battery < LOW_BATTERY ? 'low' : '')}
    ${signal == null ? nothing : badge('signal', `${number(signal)} dBm`, t('badge.signal'), signal < WEAK_SIGNAL ? 'low' : '')}
  </span>`;
}

/**
 * @param {Parameters<typeof icon>[0]} name
 * @param {string} text
 * @param {string} meaning
 * @param {string} level
 */
function badge(name, text, meaning, level) {
  return html`<span class="badge" data-level=${level} title=${meaning}>${icon(name)}<span class="visually-hidden">${meaning}: </span>${text}</span>`;
}

/**
 * @param {string} type
 * @returns {'person' | 'audio' | 'motion'}
 */
export function activityIcon(type) {
  if (type === 'PERSON') return 'person';
  return type === 'AUDIO' ? 'audio' : 'motion';
}
