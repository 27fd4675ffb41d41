// A consumer of the clients of SMTP and WhatsApp.

import { healthChecks } from 'sekering/gateway';
import { SmtpClient, SmtpError, type SmtpResult } from 'sekering/smtp';
import {
  CloudApiClient, GreenApiClient, SessionPool, type SessionSocket, type WhatsAppResult
} from 'sekering/whatsapp';
import { startSessionFake, startSmtpFake, startWhatsAppFake } from 'sekering/testing';

const mailer = new SmtpClient({
  smtp: { host: 'localhost', port: 25 }, from: { name: 'Shop', address: 'shop@example.com' },
  retry: { retries: 2 }, breaker: { volumeThreshold: 10 },
  requireTls: true, resumeAfter: 60_000,
});
const relayed = new SmtpClient({
  relays: [
    { name: 'main', smtp: 'smtps://user:secret@mail.example', from: 'shop@example.com' },
    { smtp: { host: 'localhost' }, breaker: { resetTimeout: 1000 }, requireTls: false },
  ],
  // @ts-expect-error There is no such option.
  relay: 'main',
});
relayed.on('alert', ({ kind, relay }) => console.error(kind, relay?.toUpperCase()));
for (const { name, breaker, paused } of relayed.relays) console.log(name, breaker.opened, paused);
healthChecks.smtp(relayed);
mailer.on('paused', ({ reason, since }) => console.log(reason, since, mailer.paused?.error));
mailer.on('alert', ({ kind, error }) => console.error(kind, error.responseCode));
// @ts-expect-error There is no such event.
mailer.on('opened', () => {});
// @ts-expect-error An address has to be there.
await mailer.send({ to: { name: 'Ann' } });

const result: SmtpResult = await mailer.send({
  to: ['ann@example.com', { name: 'Bob', address: 'bob@example.com' }], subject: 'Hi', text: 'x',
});
const deferred: string[] = result.deferred;
try {
  await mailer.verify({ timeout: 5000 });
} catch (error) {
  if (error instanceof SmtpError && error.kind === 'ours') console.error(error.toJSON());
}

const fake = await startWhatsAppFake({ fault: 131056 });
const cloud = new CloudApiClient({ ...fake.cloud, resumeAfter: 60_000 });
const sent: WhatsAppResult = await cloud.sendTemplate('+6281234567890',
  { name: 'tickets', language: 'id' });
const { mediaId } = await cloud.uploadMedia({ data: Buffer.from('%PDF'), type: 'application/pdf' });
await cloud.send({ to: '+6281234567890', type: 'document', document: { id: mediaId } });
cloud.on('status', ({ reference, errors }) => console.log(reference, errors[0]?.verdict.kind));
const text: string | undefined = cloud.handshake({ 'hub.mode': 'subscribe' });
const green = new GreenApiClient({ ...fake.green, breaker: false });
await green.sendText('+6281234567890', 'Hi', { signal: AbortSignal.timeout(1000) });

interface Socket extends SessionSocket { user: string }
const pool = new SessionPool<Socket>({
  connect: async (id, { signal, fresh }) =>
    ({ user: `${id}${fresh}${signal.aborted}`, async sendMessage () { return { key: {} }; } }),
  whenOpen: 'null',
});
pool.on('qr', (id, qr) => console.log(id.length, qr.length));
const score: number = pool.health().health_score;
const other = new SessionPool({ connect: startSessionFake().connect });
await startSmtpFake({ fault: [{ stage: 'rcpt', recipients: ['a@example.com'] }], tls: 'starttls' });

export { deferred, sent, text, score, other };
