'use strict';

// Files that the Cloud API takes in before they are sent.

const { CloudApiClient } = require('../../lib/clients/whatsapp');
const { startWhatsAppFake } = require('../../lib/testing/whatsapp-fake');

const QUICK = { retries: 3, minTimeout: 1, maxTimeout: 5, randomize: false };
const TO = '+6281234567890';

const opened = [];
const keep = thing => { opened.push(thing); return thing; };
afterEach(async () => {
  for (const thing of opened.splice(0)) await thing.close();
});

const start = options => startWhatsAppFake(options).then(keep);
const settings = { retry: QUICK, breaker: { volumeThreshold: 100 } };
const cloudOf = (fake, options) => keep(new CloudApiClient(
  { ...fake.cloud, ...settings, ...options }));

describe('a file for the Cloud API', () => {
  const data = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 255]);
  const ticket = { data, type: 'image/png', filename: 'tiket é.png' };

  test('is uploaded, and sent by its id', async () => {
    const fake = await start();
    const client = cloudOf(fake);
    const { mediaId, attempts } = await client.uploadMedia(ticket);
    expect(attempts).toBe(1);
    expect(fake.media.get(mediaId)).toEqual({ id: mediaId, ...ticket });
    await client.send({ to: TO, type: 'image', image: { id: mediaId, caption: 'Row 7' } });
    expect(fake.messages.at(-1).body.image).toEqual({ id: mediaId, caption: 'Row 7' });
    await expect(client.send({ to: TO, type: 'image', image: { id: '1' } })).rejects
      .toMatchObject({ providerCode: 100, kind: 'dead' });
  });

  test('is uploaded again when an upload failed, also one that got through', async () => {
    const fake = await start({ fault: { kind: 'drop', times: 1 } });
    const client = cloudOf(fake, { resendAmbiguous: false });
    const { mediaId, attempts } = await client.uploadMedia(ticket);
    expect(attempts).toBe(2);
    expect([...fake.media.keys()]).toEqual([expect.any(String), mediaId]);
    fake.set({ kind: 'code', code: 131016, times: 2 });
    expect((await client.uploadMedia(ticket)).attempts).toBe(3);
    expect(client.breaker.stats.failures).toBe(3);
  });

  test('that nobody may upload pauses the channel', async () => {
    const fake = await start({ fault: 190 });
    const client = cloudOf(fake);
    await expect(client.uploadMedia(ticket)).rejects.toMatchObject({ kind: 'pause' });
    expect(client.paused).toMatchObject({ reason: 'credentials' });
  });

  test.each([
    [undefined, ['data', 'type']],
    [{ data: 'text', type: 'png' }, ['data', 'type']],
    [{ data: Buffer.alloc(0), type: 'image/png\r\nx: y' }, ['data', 'type']],
    [{ ...ticket, filename: 'a"; name="b' }, ['filename']],
    [{ ...ticket, filename: 'a\r\nb' }, ['filename']],
  ])('is refused with all its faults at once (%#)', async (media, paths) => {
    const fake = await start();
    const error = await cloudOf(fake).uploadMedia(media).catch(failure => failure);
    expect(error).toMatchObject({ code: 'ERR_INVALID_INPUT' });
    expect(error.faults.map(({ path }) => path)).toEqual(paths);
    expect(fake.counts.requests).toBe(0);
  });
});
