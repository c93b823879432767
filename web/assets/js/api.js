// @ts-check
/**
 * The REST API, as far as the pages need it.
 *
 * @typedef {{
 *   camera_id: string, state: string, health: string, stream_id: string, started_at: string, viewer_count: number,
 *   error_message: string | null, bitrate_kbps: number | null, frames_per_second: number | null
 * }} Stream
 * @typedef {{
 *   camera_id: string, name: string | null, online: boolean | null, last_seen: string | null, firmware: string | null,
 *   stream: Stream | null
 * }} Camera
 * @typedef {{cameras: Camera[], count: number, broker_connected: boolean, engine_error?: string}} CameraList
 */

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
    throw new ApiError(0, 'The server cannot be reached.');
  }
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new ApiError(response.status, answer.error ?? `The server answered ${response.status}.`);
  return answer;
}
