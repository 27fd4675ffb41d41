'use strict';

// Senders that go on when their signal tells them to end: each message is sent once all the same.

const { fork, spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');

const { NonRetryableError } = require('../../lib/primitives/classify');
const { openStore } = require('../../lib/store');
const { useVirtualClock } = require('../../lib/testing');
const { CHANNELS, events, gate, outboxOf, until } = require('../support/outbox-helpers');
const { describeEngines } = require('../support/postgres');

const ACTOR = path.join(__dirname, '..', 'support', 'outbox-actor.js');
const LEASE_MS = 60_000;

const job = (recipient = 'x', more = {}) => ({ channel: 'JOB', recipient, ...more });

describeEngines('a sender that ignores its signal', ({ name, place }) => {
  let calls;
  let clock;
  beforeEach(() => {
    calls = [];
    clock = useVirtualClock();
  });
  // Before workers are stopped.
  afterEach(() => {
    clock.restore();
    for (const call of calls) call.resolve();
  });
  const it = outboxOf(place);
  const enqueue = (...args) => it.store.outbox.enqueue(...args);
  const sql = (...args) => it.store.query(...args);

  /** Each call ends when its gate does, and not before. */
  const send = (message, { signal }) => {
    const call = { ...gate(), message, signal };
    calls.push(call);
    return call.promise;
  };

  /** Ends although nothing else moves the clock. */
  async function stop (worker, options = { timeout: 100 }) {
    let isOver = false;
    const stopped = worker.stop(options).finally(() => { isOver = true; });
    await until(async () => {
      if (!isOver) await clock.advance(50);
      return isOver;
    });
    await stopped;
  }

  /** A worker that has stopped while it sent so many messages. */
  async function stopped (count, options) {
    const worker = await it.worker({ JOB: { send, concurrency: count } },
      { leaseMs: LEASE_MS, ...options });
    await until(() => calls.length === count);
    await stop(worker);
    expect(it.warnings.map(({ code }) => code)).toEqual(['ERR_OUTBOX_LEFT_BEHIND']);
    return worker;
  }

  const leftMs = async () => (await sql(`SELECT
    (extract(epoch FROM min(lease_until) - now()) * 1000)::float8 AS ms
    FROM sekering.notification_outbox WHERE status = 'SENDING'`)).rows[0].ms;

  /** Twice the time of a lease passes, in which it is extended. */
  async function twoLeasesPass () {
    for (let i = 0; i < 4; i++) {
      // As much of the lease has passed, for the database and for the workers.
      await sql(`UPDATE sekering.notification_outbox
        SET lease_until = lease_until - interval '${LEASE_MS / 2} ms'`);
      await until(async () => {
        await clock.advance(LEASE_MS / 16);
        return await leftMs() > LEASE_MS / 2;
      });
    }
  }

  describe('when its worker stops', () => {
    test('is given up in the moment in which its worker is to stop', async () => {
      await enqueue(job());
      const worker = await it.worker({ JOB: { send, timeout: 5000 } }, { leaseMs: LEASE_MS });
      await until(() => calls.length === 1);
      const stopping = worker.stop({ timeout: 10_000 });
      // The sender's second time limit and the worker's end together.
      await clock.advance(10_000);
      await stopping;
      expect(calls[0].signal.reason.code).toBe('ETIMEDOUT');
      const { rows: [row] } = await sql('SELECT status FROM sekering.notification_outbox');
      expect(row.status).toBe('RETRYING');
    });

    test('keeps its message: nobody else sends it, and its late outcome counts', async () => {
      const { id } = await enqueue(job());
      const first = await stopped(1);
      expect(calls[0].signal.reason.code).toBe('ESHUTDOWN');
      const [warning] = it.warnings.splice(0);
      expect(warning).toMatchObject({ count: 1, ids: [id], message: expect.stringContaining(id) });

      const second = await it.worker({ JOB: send }, { leaseMs: LEASE_MS });
      await twoLeasesPass();
      const other = events(second, 'sent');
      await enqueue(job('other'));
      await until(() => calls.length === 2);
      calls[1].resolve();
      await other;

      const sent = events(first, 'sent');
      calls[0].resolve('late');
      expect((await sent)[0][0]).toMatchObject({ id, providerMessageId: 'late' });
      expect(await it.store.outbox.get(id)).toMatchObject({
        status: 'SENT', attemptCount: 1, providerMessageId: 'late',
      });
      expect(calls).toHaveLength(2);
      expect(first.stats()).toMatchObject({ sent: 1, fenced: 0 });
      expect(first.inFlight).toBe(0);
    });

    test('may fail as any other: its message is tried again, or dies', async () => {
      await enqueue([job('1', { maxAttempts: 2 }), job('2')]);
      const worker = await stopped(2);
      it.warnings.splice(0);
      const retry = events(worker, 'retry');
      const dead = events(it.store.deadLetters, 'arrival');
      const of = recipient => calls.find(({ message }) => message.recipient === recipient);
      of('1').reject(new Error('no luck'));
      of('2').reject(new NonRetryableError('never'));
      expect((await retry)[0][1].message).toBe('no luck');
      expect((await dead)[0][0]).toMatchObject({ recipient: '2', lastError: 'never' });
      expect(await it.statuses()).toEqual(['RETRYING', 'DLQ']);
      expect(calls).toHaveLength(2);
    });

    test('is told of among others: how many, and the first ids', async () => {
      await enqueue(Array.from({ length: 25 }, () => job()));
      const worker = await stopped(25, { concurrency: 25 });
      const [warning] = it.warnings.splice(0);
      expect(warning.count).toBe(25);
      expect(warning.ids).toHaveLength(20);
      // Asked to stop once more, it waits for them.
      const stops = worker.stop({ timeout: 3_600_000 });
      for (const call of calls) call.resolve();
      await stops;
      expect(await it.statuses()).toEqual(Array(25).fill('SENT'));
      await worker.stop();
    });

    test('takes a place of the worker that is started again', async () => {
      await enqueue(job('straggler'));
      const worker = await it.worker({
        JOB: { send, concurrency: 1 }, EMAIL: async () => {},
      }, { leaseMs: LEASE_MS, concurrency: 2 });
      await until(() => calls.length === 1);
      await stop(worker);
      it.warnings.splice(0);
      await worker.start();
      const marker = events(worker, 'sent');
      await enqueue([job('next'), { channel: 'EMAIL', recipient: 'marker' }]);
      expect((await marker)[0][0]).toMatchObject({ recipient: 'marker' });
      expect(calls).toHaveLength(1);
      expect(worker.inFlight).toBe(1);

      const sent = events(worker, 'sent', 2);
      calls[0].resolve();
      await until(() => calls.length === 2);
      calls[1].resolve();
      expect((await sent).map(([{ recipient }]) => recipient)).toEqual(['straggler', 'next']);
      expect(await it.statuses()).toEqual(['SENT', 'SENT', 'SENT']);
      expect(worker.stats()).toMatchObject({ sent: 3, fenced: 0 });
    });

    test('and never ends, has its time limit once more when the worker is started again',
      async () => {
        await enqueue(job('straggler', { maxAttempts: 1 }));
        const worker = await it.worker({ JOB: { send, concurrency: 1, timeout: 5000 } },
          { leaseMs: LEASE_MS });
        await until(() => calls.length === 1);
        await stop(worker);
        it.warnings.splice(0);
        await worker.start();
        const dead = events(worker, 'dead');
        const sent = events(worker, 'sent');
        await enqueue(job('next'));
        await clock.advance(5000);
        expect((await dead)[0][0]).toMatchObject({ recipient: 'straggler', kind: 'ETIMEDOUT' });
        await until(() => calls.length === 2);
        calls[1].resolve();
        expect((await sent)[0][0]).toMatchObject({ recipient: 'next' });
      });

    describe('and its store closes', () => {
      let folder;
      let place;
      let store;
      beforeEach(async () => {
        folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-stragglers-'));
        place = name === 'pglite' ? { directory: folder } : it.place;
        store = await openStore({ ...place, channels: CHANNELS });
      });
      afterEach(async () => {
        for (const call of calls) call.resolve();
        await store.close();
        fs.rmSync(folder, { recursive: true });
      });

      /** A worker whose store was closed while it sent a message, and the events of that worker. */
      async function closed (stopFirst) {
        const { id } = await store.outbox.enqueue(job());
        const worker = store.outbox.createWorker({ channels: { JOB: send }, leaseMs: LEASE_MS });
        const told = [];
        for (const event of ['sent', 'retry', 'fenced']) worker.on(event, () => told.push(event));
        worker.on('warning', ({ code }) => told.push(code));
        await worker.start();
        await until(() => calls.length === 1);
        if (stopFirst) await stop(worker);
        let isClosed = false;
        const closing = store.close().then(() => { isClosed = true; });
        await until(async () => {
          if (!isClosed) await clock.advance(50);
          return isClosed;
        });
        await closing;
        expect(told).toEqual(['ERR_OUTBOX_LEFT_BEHIND']);
        await expect(store.query('SELECT 1')).rejects.toMatchObject({ code: 'ERR_STORE_CLOSED' });
        await expect(worker.start()).rejects.toMatchObject({ code: 'ERR_STORE_CLOSED' });
        await expect(store.outbox.enqueue(job())).rejects.toMatchObject({
          code: 'ERR_STORE_CLOSED',
        });
        return { id, told: () => told.splice(1) };
      }

      /** Opens the folder of an embedded store again, which takes a while to become free. */
      async function reopened () {
        if (name !== 'pglite') return it.store;
        await until(async () => {
          const again = await openStore({ ...place, channels: CHANNELS }).catch(error => {
            expect(error.code).toBe('ERR_STORE_DIRECTORY_LOCKED');
          });
          if (again === undefined) return false;
          store = again;
          return true;
        });
        return store;
      }

      /** Lets time pass: no other worker gets the message. */
      async function keepsItsMessage () {
        if (name === 'pglite') {
          await clock.advance(4 * LEASE_MS);
          await expect(openStore(place)).rejects.toMatchObject({
            code: 'ERR_STORE_DIRECTORY_LOCKED',
          });
          return;
        }
        const other = await it.worker({ JOB: send }, { leaseMs: LEASE_MS });
        await twoLeasesPass();
        await other.stop();
        expect(calls).toHaveLength(1);
      }

      test.each([['after', true], ['without', false]])(
        '%s a stop of its worker: no other worker sends its message, and its success counts',
        async (_, stopFirst) => {
          const { id, told } = await closed(stopFirst);
          await keepsItsMessage();
          calls[0].resolve('late');
          const { outbox } = await reopened();
          await until(async () => (await outbox.get(id)).status === 'SENT');
          expect(await outbox.get(id)).toMatchObject({
            attemptCount: 1, providerMessageId: 'late',
          });
          expect(told()).toEqual(['sent']);
          expect(calls).toHaveLength(1);
        });

      test('its failure counts, too', async () => {
        const { id, told } = await closed(true);
        await keepsItsMessage();
        calls[0].reject(new Error('no luck'));
        const { outbox } = await reopened();
        await until(async () => (await outbox.get(id)).status === 'RETRYING');
        expect(await outbox.get(id)).toMatchObject({ attemptCount: 1, lastError: 'no luck' });
        expect(told()).toEqual(['retry']);
      });
    });
  });

  test('while the database kept the worker waiting: nobody says that the event loop stood still',
    async () => {
      const { id } = await enqueue(job());
      const worker =
        await it.worker({ JOB: { send, timeout: 3_600_000 } }, { leaseMs: LEASE_MS });
      await until(() => calls.length === 1);
      const locked = gate();
      const free = gate();
      const locking = it.store.transaction(async tx => {
        await tx.query('LOCK TABLE sekering.notification_outbox IN EXCLUSIVE MODE');
        await tx.query(`UPDATE sekering.notification_outbox
          SET lease_until = lease_until - interval '${LEASE_MS / 2} ms'`);
        locked.resolve();
        await free.promise;
      });
      await locked.promise;
      await clock.advance(LEASE_MS * 0.75);
      free.resolve();
      await locking;
      // The round that waited is over, and the next one has extended the lease.
      await until(async () => {
        await clock.advance(0);
        return await leftMs() > LEASE_MS / 2;
      });
      const retry = events(worker, 'retry');
      calls[0].reject(new Error('no luck'));
      await retry;
      expect(await it.store.outbox.get(id)).toMatchObject({ lastError: 'no luck' });
    });

  describe('when its time is over', () => {
    const start = async () => {
      await enqueue(job());
      const worker = await it.worker({ JOB: { send, timeout: 1000 } }, { leaseMs: LEASE_MS });
      await until(() => calls.length === 1);
      const failed = [];
      worker.on('retry', (message, { code }) => failed.push(code));
      await clock.advance(1000);
      expect(calls[0].signal.reason.code).toBe('ETIMEDOUT');
      return { worker, failed };
    };

    test('may still succeed: its message is not sent beside it', async () => {
      const { worker, failed } = await start();
      await clock.advance(999);
      const sent = events(worker, 'sent');
      calls[0].resolve('late');
      expect((await sent)[0][0]).toMatchObject({ providerMessageId: 'late', attemptCount: 1 });
      expect(calls).toHaveLength(1);
      expect(failed).toEqual([]);
    });

    test.each(['fails', 'never ends'])('and it %s: another attempt follows', async how => {
      const { worker, failed } = await start();
      if (how === 'fails') calls[0].reject(new NonRetryableError('aborted'));
      else await clock.advance(1000);
      await until(() => failed.length === 1);
      expect(failed).toEqual(['ETIMEDOUT']);
      await until(async () => {
        await clock.advance(100);
        return calls.length === 2;
      });
      const sent = events(worker, 'sent');
      calls[1].resolve();
      await sent;
    });
  });

  test('keeps no process alive whose worker has stopped', async () => {
    const given = JSON.stringify({ ...name === 'pglite' ? { memory: true } : it.place });
    const child = spawn(process.execPath, ['-e', `
      const { openStore } = require('./lib/store');
      (async () => {
        const store = await openStore(${given});
        const worker = store.outbox.createWorker({
          channels: { EMAIL: async () => {
            worker.stop({ timeout: 0 }).then(() => console.log('stopped'));
            return new Promise(() => {});
          } },
        });
        worker.on('warning', error => console.log(error.code));
        await worker.start();
        await store.outbox.enqueue({ channel: 'EMAIL', recipient: 'x' });
      })();`], { cwd: path.join(__dirname, '..', '..'), stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.on('data', text => { output += text; });
    expect(await once(child, 'close')).toEqual([0, null]);
    expect(output).toBe('ERR_OUTBOX_LEFT_BEHIND\nstopped\n');
  });

  if (name === 'postgresql') {
    describe('at work while another process takes over', () => {
      let requests;
      let effects;
      let children;
      beforeEach(async () => {
        requests = [];
        children = [];
        effects = http.createServer((request, answer) => {
          requests.push({ id: request.url.slice(1).split('?')[0], answer });
          if (requests.length > 1) answer.end();
        });
        await once(effects.listen(0, '127.0.0.1'), 'listening');
      });
      afterEach(() => {
        for (const child of children) child.kill('SIGKILL');
        effects.close();
        effects.closeAllConnections();
      });

      /** A process with a worker. */
      async function deploy () {
        const child = fork(ACTOR, [JSON.stringify({
          url: it.place.url, effects: `http://127.0.0.1:${effects.address().port}`,
          worker: { leaseMs: 20_000, pollInterval: 100 },
        })]);
        children.push(child);
        const told = [];
        child.on('message', message => told.push(message.event));
        await until(() => told.includes('started'));
        return { child, told };
      }

      /** A process that was told to end, and is still sending. */
      async function lingering () {
        const old = await deploy();
        await until(() => requests.length === 1);
        old.child.kill('SIGTERM');
        await until(() => old.told.includes('warning'));
        return old.child;
      }

      const lease = async () => (await sql(`SELECT lease_until
        FROM sekering.notification_outbox WHERE status = 'SENDING'`)).rows[0]?.lease_until;

      test('is waited for', async () => {
        const { id } = await enqueue(job());
        const old = await lingering();
        const exit = once(old, 'exit');
        const before = await lease();
        await deploy();
        await enqueue(job('next'));
        await until(() => requests.length === 2);
        await until(async () => await lease() > before);
        requests[0].answer.end();
        expect(await exit).toEqual([0, null]);
        expect(await it.store.outbox.get(id)).toMatchObject({ status: 'SENT', attemptCount: 1 });
        expect(requests.filter(request => request.id === id)).toHaveLength(1);
      });

      test('and is killed: when its lease has ended, the other sends its message', async () => {
        const { id } = await enqueue(job());
        const old = await lingering();
        await deploy();
        await enqueue(job('next'));
        await until(() => requests.length === 2);
        const exit = once(old, 'exit');
        old.kill('SIGKILL');
        await exit;
        expect(await it.store.outbox.get(id)).toMatchObject({ status: 'SENDING' });
        // Time passes for the database.
        await sql('UPDATE sekering.notification_outbox SET lease_until = now()');
        await until(async () => (await it.store.outbox.get(id)).status === 'SENT');
        expect(requests.map(request => request.id)).toEqual([id, requests[1].id, id]);
      });
    });
  }
});
