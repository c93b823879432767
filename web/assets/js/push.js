// @ts-check
/**
 * Notifications in this browser by Web Push: whether it can, and what the server is told of it. What is shown is `sw.js`'s business.
 *
 * @typedef {{from: string, until: string, time_zone: string}} Quiet
 * @typedef {{
 *   id: string, name: string, cameras: string[] | null, kinds: string[], quiet_hours: Quiet | null, paused: boolean,
 *   logged_in: boolean, created_at: string
 * }} Device
 * @typedef {{public_key: string | null, kinds: string[], subscriptions: Device[]}} PushState
 */
import { call } from './api.js';
import { language, t } from './i18n/i18n.js';

/** Safari on telephones and tablets of Apple, which call themselves Macs. */
const IS_APPLE_TOUCH = /iPhone|iPad/.test(navigator.userAgent) || (/Macintosh/.test(navigator.userAgent) && navigator.maxTouchPoints > 1);

/** @returns {'push.insecure' | 'push.install' | 'push.unsupported' | 'push.denied' | null} why this browser cannot be notified */
export function obstacle() {
  if (!isSecureContext) return 'push.insecure';
  if (!('serviceWorker' in navigator && 'PushManager' in window && 'Notification' in window)) {
    return IS_APPLE_TOUCH && !matchMedia('(display-mode: standalone)').matches ? 'push.install' : 'push.unsupported';
  }
  return Notification.permission === 'denied' ? 'push.denied' : null;
}

/**
 * Asks whoever holds the device, and tells the server where to send. After a tap only: browsers want that.
 *
 * @param {string} publicKey
 * @returns {Promise<Device>}
 */
export async function subscribe(publicKey) {
  if (await Notification.requestPermission() !== 'granted') throw new Error(t('push.denied'));
  const { pushManager } = await navigator.serviceWorker.ready;
  const key = octets(publicKey);
  let subscription = await pushManager.getSubscription();
  if (subscription && !isSame(subscription.options.applicationServerKey, key)) {
    await subscription.unsubscribe(); // of another installation that was at this address
    subscription = null;
  }
  try {
    subscription ??= await pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
  } catch {
    throw new Error(t('push.no-service'));
  }
  return announce(subscription);
}

/**
 * This browser as the server knows it, if it is notified. The server learns at once whose login it has now.
 *
 * @returns {Promise<Device | null>}
 */
export async function known() {
  if (obstacle() || Notification.permission !== 'granted') return null;
  const registration = await navigator.serviceWorker.getRegistration();
  const subscription = await registration?.pushManager.getSubscription();
  return subscription ? announce(subscription) : null;
}

/** @param {Device} device this one */
export async function unsubscribe(device) {
  await call('DELETE', `/api/push/subscriptions/${device.id}`);
  const registration = await navigator.serviceWorker.getRegistration();
  await (await registration?.pushManager.getSubscription())?.unsubscribe();
}

/**
 * @param {PushSubscription} subscription
 * @returns {Promise<Device>}
 */
async function announce(subscription) {
  await leaveLanguage().catch(() => {}); // they speak the browser's then
  const { endpoint, keys } = subscription.toJSON();
  return call('POST', '/api/push/subscriptions', { endpoint, keys: { p256dh: keys?.p256dh, auth: keys?.auth }, name: deviceName() });
}

/** For the service worker, which writes what is shown and sees nothing else of the page. */
async function leaveLanguage() {
  const cache = await caches.open('apiary-language');
  await cache.put('/language', new Response(language));
}

/** What people call it: `Chrome, Android`. */
function deviceName() {
  const agent = navigator.userAgent;
  const first = (/** @type {[RegExp, string][]} */ names) => names.find(([pattern]) => pattern.test(agent))?.[1];
  const browser = first([[/Edg/, 'Edge'], [/OPR/, 'Opera'], [/SamsungBrowser/, 'Samsung Internet'], [/Firefox|FxiOS/, 'Firefox'], [/Chrome|CriOS/, 'Chrome'], [/Safari/, 'Safari']]);
  const system = IS_APPLE_TOUCH && /Macintosh/.test(agent) ? 'iPad'
    : first([[/iPhone/, 'iPhone'], [/iPad/, 'iPad'], [/Android/, 'Android'], [/Macintosh/, 'Mac'], [/Windows/, 'Windows'], [/CrOS/, 'ChromeOS'], [/Linux/, 'Linux']]);
  return [browser, system].filter(Boolean).join(', ') || t('push.device');
}

/** @param {string} base64url */
function octets(base64url) {
  const text = atob(base64url.replaceAll('-', '+').replaceAll('_', '/'));
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

/**
 * @param {ArrayBuffer | null} one
 * @param {Uint8Array} other
 */
function isSame(one, other) {
  const octetsOfOne = new Uint8Array(one ?? new ArrayBuffer(0));
  return octetsOfOne.length === other.length && octetsOfOne.every((octet, place) => octet === other[place]);
}
