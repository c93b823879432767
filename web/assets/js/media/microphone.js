// @ts-check
/** The microphone of this device, open only while somebody talks. */
import { t } from '../i18n/i18n.js';

/**
 * @returns {Promise<MediaStreamTrack>} to be stopped by whoever asked
 * @throws {Error} why there is none, in words
 */
export async function openMicrophone() {
  // Browsers have it on pages with https, and on those of this machine.
  if (!navigator.mediaDevices) throw new Error(t('talk.insecure'));
  try {
    const sound = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true } });
    const [track] = sound.getAudioTracks();
    if (track) return track;
  } catch (error) {
    switch (error instanceof DOMException ? error.name : '') {
      case 'NotAllowedError': throw new Error(t('talk.denied'));
      case 'NotReadableError': throw new Error(t('talk.in-use'));
      default: // as the others: there is none
    }
  }
  throw new Error(t('talk.no-microphone'));
}
