// @ts-check
/**
 * The REST API, as far as the pages need it.
 *
 * @typedef {{
 *   camera_id: string, state: string, health: string, stream_id: string, started_at: string, viewer_count: number,
 *   error_message: string | null, error_cause: import('./i18n/i18n.js').Cause | null, bitrate_kbps: number | null, frames_per_second: number | null
 * }} Stream
 * @typedef {{
 *   camera_id: string, name: string | null, room: string | null, position: number | null, online: boolean | null,
 *   last_seen: string | null, firmware: string | null, mode: string | null, battery_percent?: number | null,
 *   signal?: number | null, temperature?: number | null, activity?: {type: string, since: string} | null, talking_since: string | null,
 *   poster: boolean,
 *   stream: Stream | null
 * }} Camera
 * @typedef {{
 *   id: string, camera_id: string, kind: string, at: string, activity_type: string | null, confidence: number | null,
 *   detail: string | null, payload: object | null
 * }} CameraEvent
 * @typedef {{cameras: Camera[], count: number, broker_connected: boolean, engine_error?: string}} CameraList
 */

import { reason, t } from './i18n/i18n.js';

const TIMEOUT_MS = 8000;

/** What the API answered with an error status; its message is meant to be read by a person. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {string} message
   */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** @returns {Promise<CameraList>} */
export function listCameras() {
  return call('GET', '/cameras');
}

/**
 * @param {string} camera
 * @returns {Promise<any>} the stream that runs now, whether this call started it or it ran before
 */
export async function startStream(camera) {
  try {
    return await call('POST', `/streams/${encodeURIComponent(camera)}/start`);
  } catch (error) {
    if (error instanceof ApiError && error.status === 409) return null;
    throw error;
  }
}

/**
 * @param {string} camera
 * @returns {Promise<any>} the stream that was stopped, `null` when none ran
 */
export async function stopStream(camera) {
  try {
    return await call('POST', `/streams/${encodeURIComponent(camera)}/stop`);
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null;
    throw error;
  }
}

/**
 * @param {string} method
 * @param {string} path
 * @param {object} [body]
 * @param {number} [timeoutMs]
 * @returns {Promise<any>} `null` where the answer has no body
 */
export async function call(method, path, body, timeoutMs = TIMEOUT_MS) {
  let response;
  try {
    response = await fetch(path, {
      method,
      cache: 'no-store',
      signal: AbortSignal.timeout(timeoutMs),
      ...(body && { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) }),
    });
  } catch {
    throw new ApiError(0, t('server.unreachable'));
  }
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new ApiError(response.status, reason(answer, answer.error ?? t('server.answered', { status: response.status })));
  return answer;
}

/**
 * Where the last picture of a camera is, as a video of one picture.
 *
 * @param {Camera} camera
 */
export function posterOf(camera) {
  // Another stream, another picture; and the fragment makes Safari on iPhones show it without playing.
  return `/cameras/${camera.camera_id}/poster.mp4?of=${camera.stream?.stream_id ?? ''}#t=0.001`;
}
