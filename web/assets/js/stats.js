// @ts-check
/**
 * What the browser itself measures of a received stream, one sample at a time.
 *
 * @typedef {{
 *   at: number, bytes: number, packets: number, lost: number, frames: number,
 *   bitrateKbps: number | null, width: number, height: number, fps: number | null,
 *   lossPercent: number | null, roundTripMs: number | null, audioEnergy: number
 * }} Sample
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
    at: performance.now(), bytes: 0, packets: 0, lost: 0, frames: 0,
    bitrateKbps: null, width: 0, height: 0, fps: null,
    lossPercent: null, roundTripMs: null, audioEnergy: 0,
  };
  report.forEach((entry) => addEntry(sample, entry));
  if (before) addRates(sample, before);
  return sample;
}

/**
 * @param {Sample} sample
 * @param {any} entry
 */
function addEntry(sample, entry) {
  if (entry.type === 'inbound-rtp') {
    sample.bytes += entry.bytesReceived ?? 0;
    sample.packets += entry.packetsReceived ?? 0;
    sample.lost += Math.max(0, entry.packetsLost ?? 0);
    if (entry.kind === 'video') {
      sample.frames = entry.framesDecoded ?? 0;
      sample.width = entry.frameWidth ?? 0;
      sample.height = entry.frameHeight ?? 0;
    } else {
      sample.audioEnergy = entry.totalAudioEnergy ?? 0;
    }
  } else if (entry.type === 'candidate-pair' && entry.nominated && entry.currentRoundTripTime !== undefined) {
    sample.roundTripMs = entry.currentRoundTripTime * 1000;
  }
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
}
