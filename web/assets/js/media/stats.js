// @ts-check
/**
 * What the browser itself measures of a received stream, one sample at a time (webrtc-stats).
 *
 * @typedef {'direct' | 'tcp' | 'relay' | ''} Path how packets come: by UDP, by TCP, or through a relay; '' while that is open
 *
 * @typedef {object} Sample
 * @property {number} at when it was taken, by `performance.now()`
 * @property {number} bytes received since the connection began, as are the next three
 * @property {number} packets
 * @property {number} lost
 * @property {number} frames decoded
 * @property {number} width of the picture, in pixels; 0 before the first
 * @property {number} height
 * @property {number} audioEnergy
 * @property {number} jitterBufferS seconds that all emitted frames together waited to be shown
 * @property {number} jitterBufferFrames how many they were
 * @property {string} codec of the picture, such as `H264`
 * @property {Path} path
 * @property {number | null} roundTripMs
 * @property {number | null} bitrateKbps since the sample before, as are the rest
 * @property {number | null} fps
 * @property {number | null} lossPercent
 * @property {number | null} jitterBufferMs how long a frame waited to be shown
 */

/**
 * @param {RTCPeerConnection} connection
 * @param {Sample | null} before the sample to which rates are taken, of the same connection
 * @returns {Promise<Sample>}
 */
export async function takeSample(connection, before) {
  const report = await connection.getStats();
  /** @type {Sample} */
  const sample = {
    at: performance.now(), bytes: 0, packets: 0, lost: 0, frames: 0, width: 0, height: 0, audioEnergy: 0,
    jitterBufferS: 0, jitterBufferFrames: 0, codec: '', path: '', roundTripMs: null,
    bitrateKbps: null, fps: null, lossPercent: null, jitterBufferMs: null,
  };
  report.forEach((entry) => addEntry(sample, entry, report));
  if (before) addRates(sample, before);
  return sample;
}

/**
 * @param {Sample} sample
 * @param {any} entry
 * @param {RTCStatsReport} report
 */
function addEntry(sample, entry, report) {
  if (entry.type === 'inbound-rtp') {
    sample.bytes += entry.bytesReceived ?? 0;
    sample.packets += entry.packetsReceived ?? 0;
    sample.lost += Math.max(0, entry.packetsLost ?? 0);
    if (entry.kind === 'video') addVideo(sample, entry, report);
    else sample.audioEnergy = entry.totalAudioEnergy ?? 0;
  } else if (entry.type === 'candidate-pair' && entry.nominated && entry.state === 'succeeded') {
    if (entry.currentRoundTripTime !== undefined) sample.roundTripMs = entry.currentRoundTripTime * 1000;
    sample.path = pathOf(report.get(entry.localCandidateId));
  }
}

/**
 * @param {Sample} sample
 * @param {any} entry
 * @param {RTCStatsReport} report
 */
function addVideo(sample, entry, report) {
  sample.frames = entry.framesDecoded ?? 0;
  sample.width = entry.frameWidth ?? 0;
  sample.height = entry.frameHeight ?? 0;
  sample.jitterBufferS = entry.jitterBufferDelay ?? 0;
  sample.jitterBufferFrames = entry.jitterBufferEmittedCount ?? 0;
  const codec = report.get(entry.codecId);
  sample.codec = codec?.mimeType?.split('/')[1] ?? '';
}

/**
 * @param {any} candidate the browser's own
 * @returns {Path}
 */
function pathOf(candidate) {
  if (!candidate) return '';
  if (candidate.candidateType === 'relay') return 'relay';
  return candidate.protocol === 'tcp' ? 'tcp' : 'direct';
}

/**
 * @param {Sample} sample
 * @param {Sample} before
 */
function addRates(sample, before) {
  const seconds = (sample.at - before.at) / 1000;
  if (seconds <= 0) return;
  sample.bitrateKbps = Math.max(0, ((sample.bytes - before.bytes) * 8) / 1000 / seconds);
  sample.fps = Math.max(0, (sample.frames - before.frames) / seconds);
  const lost = Math.max(0, sample.lost - before.lost);
  const expected = Math.max(0, sample.packets - before.packets) + lost;
  sample.lossPercent = expected > 0 ? (100 * lost) / expected : null;
  const shown = sample.jitterBufferFrames - before.jitterBufferFrames;
  if (shown > 0) sample.jitterBufferMs = (1000 * (sample.jitterBufferS - before.jitterBufferS)) / shown;
}
