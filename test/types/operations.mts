// A consumer of degradation, health, metrics and tracing.

import { CircuitBreaker, retryable } from 'sekering';
import {
  createDegradation, createHealth, createSharedLevel, healthChecks, policyFromConfig, readConfig
} from 'sekering/gateway';
import {
  createBreakerMiddleware, createClusterMetrics, createDeadlineMiddleware, createHealthRouter,
  createMetrics, createTracing, problem, problemHandler
} from 'sekering/http';
import { MidtransClient } from 'sekering/midtrans';
import { SmtpClient } from 'sekering/smtp';
import { openStore } from 'sekering/store';
import { SessionPool } from 'sekering/whatsapp';

declare const smtp: SmtpClient;
declare const pool: SessionPool;
const breaker = new CircuitBreaker(async (n: number) => String(n));
const midtrans = new MidtransClient({ serverKey: 'x' });
const store = await openStore();
const worker = store.outbox.createWorker({ channels: {} });

const degradation = createDegradation({
  scheme: 'levels',
  services: { midtrans: breaker, database: async () => (await store.health()).ok },
  rules: [{ level: 'SEVERE', services: ['database'] }],
  features: { recommendations: 'MINOR' },
});
degradation.on('level', ({ from, to, reason, by }) => {
  [from, to, reason, by] satisfies string[];
});
degradation.setLevel('SEVERE', { reason: 'drill' }).index satisfies number;
degradation.setLevel(null);
degradation.on('manual', ({ level, reason, by }) => [level ?? 'automatic', reason, by].join(' '));
const shared = createSharedLevel({ store, degradation });
shared.start() satisfies Promise<void>;
// @ts-expect-error it needs a store
createSharedLevel({ degradation });
// @ts-expect-error A level by hand needs a reason.
degradation.setLevel('SEVERE');
// @ts-expect-error There is no such level.
createDegradation({ features: { a: 'BAD' } });

const health = createHealth({
  checks: {
    database: healthChecks.database(store),
    midtrans: { ...healthChecks.ping(midtrans), timeout: 2000 },
    smtp: healthChecks.smtp(smtp),
    worker: healthChecks.worker(worker),
    breakers: healthChecks.breakers(() => [breaker]),
    cache: async ({ signal }) => ({ status: 'degraded', aborted: signal.aborted }),
  },
});
(await health.check()).checks.database?.responseTimeMs satisfies number | undefined;

createHealthRouter({
  health, degradation, breakers: () => [breaker], deadLetters: store.deadLetters, sessions: pool,
});
createDeadlineMiddleware({ max: 1000 });
createBreakerMiddleware({ prefixes: ['/api'], breaker: { timeout: 1000 } }).breakers.reset('/api');
const load = retryable(async (id: number) => id);
createMetrics({
  health, degradation, store, worker, retries: { load, smtp }, cluster: true,
}).close();
createClusterMetrics({ timeout: 1000 }).close();
problemHandler({ onError: error => { error satisfies unknown; } });
declare const res: import('node:http').ServerResponse;
problem(res, 409, { code: 'ERR_PAYMENT_ORDER', orderId: 'a' });

const tracing = createTracing();
(await tracing.breaker(breaker)(1)) satisfies string;
(await tracing.retry('load', async (bail, attempt) => attempt)) satisfies number;
tracing.sender(async message => message.channel);

const fromFile = policyFromConfig('retry.toml', { degraded: (id: number) => `nothing of ${id}` });
fromFile.wrap(async (id: number) => String(id))(7) satisfies Promise<string>;
const config = readConfig({
  retry: {
    maxRetries: 3, initialDelay: '1s', maxDelay: 30_000, multiplier: 2, jitter: true,
    circuitBreaker: { failureThreshold: 5, successThreshold: 3, timeout: '60s' },
    policy: { retryableStatusCodes: [429, '5xx'], retryableErrors: ['dns_resolution', 'EMINE'] },
    fallback: { enabled: true, strategy: ['cache', 'default'], cacheTtl: '1h' },
  },
});
config.retry?.minTimeout satisfies number | undefined;
policyFromConfig(config).retryStats.attempts satisfies number;
// @ts-expect-error There is no such strategy.
readConfig({ retry: { fallback: { strategy: 'none' } } });
