// @ts-check
/**
 * How things are called on the pages: states, numbers, times. No DOM here.
 *
 * @typedef {import('./api.js').Camera} Camera
 * @typedef {'good' | 'wait' | 'bad' | 'idle'} Tone
 */

/**
 * @param {string} cameraId
 * @param {string | null} [name] what its owner calls it
 */
export function cameraName(cameraId, name) {
  return name || `Camera ${cameraId.slice(0, 8)}`;
}

/**
 * @param {Camera} camera
 * @returns {{text: string, tone: Tone}}
 */
export function cameraState(camera) {
  const stream = camera.stream;
  if (stream) {
    const words = streamState(stream.state, stream.health);
    if (stream.state !== 'stopped' && stream.state !== 'idle' && stream.state !== 'error') return words;
    if (stream.state === 'error' && camera.online !== false) return words;
  }
  if (camera.online === false) return { text: 'Offline', tone: 'idle' };
  return camera.online ? { text: 'Ready', tone: 'idle' } : { text: 'Not heard of yet', tone: 'idle' };
}

/**
 * @param {string} state
 * @param {string} [health]
 * @returns {{text: string, tone: Tone}}
 */
export function streamState(state, health) {
  switch (state) {
    case 'starting': return { text: 'Starting', tone: 'wait' };
    case 'active':
      if (health === 'stalled') return { text: 'Picture lost', tone: 'wait' };
      return health === 'degraded' ? { text: 'Live, unsteady', tone: 'wait' } : { text: 'Live', tone: 'good' };
    case 'stopping': return { text: 'Stopping', tone: 'wait' };
    case 'stopped': return { text: 'Stopped', tone: 'idle' };
    case 'error': return { text: 'Failed', tone: 'bad' };
    default: return { text: 'Idle', tone: 'idle' };
  }
}

/** @param {number | null | undefined} kbps */
export function bitrate(kbps) {
  if (kbps === null || kbps === undefined) return '–';
  return kbps >= 1000 ? `${(kbps / 1000).toFixed(1)} Mbit/s` : `${Math.round(kbps)} kbit/s`;
}

/**
 * @param {number} count
 * @param {string} thing
 */
export function counted(count, thing) {
  return `${count} ${thing}${count === 1 ? '' : 's'}`;
}

/** @param {string | null} timestamp */
export function ago(timestamp) {
  if (!timestamp) return 'never';
  const seconds = Math.max(0, (Date.now() - Date.parse(timestamp)) / 1000);
  if (seconds < 90) return 'just now';
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86400)} days ago`;
}

/** @param {string} state an `RTCIceConnectionState` */
export function iceState(state) {
  return { new: 'New', checking: 'Checking', connected: 'Connected', completed: 'Connected', disconnected: 'Disconnected', failed: 'Failed', closed: 'Closed' }[state] ?? state;
}

/**
 * The text as a sentence: a capital at its start and a full stop at its end.
 * @param {string} text
 */
export function sentence(text) {
  const trimmed = text.trim();
  if (!trimmed) return '';
  return trimmed[0]?.toUpperCase() + trimmed.slice(1) + (/[.!?…]$/.test(trimmed) ? '' : '.');
}
