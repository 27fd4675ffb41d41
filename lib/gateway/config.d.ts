import { BackoffJitter, BackoffStrategy } from '../primitives/backoff';
import { StatusClass } from '../primitives/classify';
import { LevelName } from './degradation';
import { PresetName, ProfileName } from '../primitives/presets';

/** Over the presets; ms. */
export interface RetryFigures {
  retries?: number | undefined;
  strategy?: BackoffStrategy | undefined;
  factor?: number | undefined;
  minTimeout?: number | undefined;
  maxTimeout?: number | undefined;
  randomize?: boolean | undefined;
  jitter?: BackoffJitter | undefined;
}

/** Over the presets; ms and percentages, as the options of a CircuitBreaker. */
export interface BreakerFigures {
  errorThresholdPercentage?: number | undefined;
  volumeThreshold?: number | undefined;
  consecutiveFailures?: number | undefined;
  failureCount?: number | undefined;
  slidingWindowSize?: number | undefined;
  minimumCalls?: number | undefined;
  slowCallDuration?: number | undefined;
  slowCallThresholdPercentage?: number | undefined;
  resetTimeout?: number | {
    initial: number; factor?: number | undefined; max?: number | undefined;
  } | undefined;
  halfOpenProbes?: number | undefined;
  successThreshold?: number | undefined;
  rampUp?: number | undefined;
  rollingCountTimeout?: number | undefined;
  rollingCountBuckets?: number | undefined;
}

interface ClientSection {
  /** ms that one attempt may take; default that of the profile, else of the preset. */
  timeout?: number | undefined;
  circuitBreaker?: BreakerFigures | undefined;
}

interface ChannelSection extends ClientSection {
  /** Messages on their way at once, 1 to 1000, default 5. */
  concurrency?: number | undefined;
}

/**
 * A cron pattern of five or six fields; false: never.
 */
export type Cron = string | false;

/**
 * What a gateway is made of. In TOML the names are written with underscores. A text `env:NAME`
 * stands for the variable NAME of the environment. Times are ms.
 */
export interface GatewayConfig {
  /** Default 'production'. */
  profile?: ProfileName | undefined;
  server?: {
    /** Default '127.0.0.1'. */
    host?: string | undefined;
    /** Default 3000; 0 takes a free one. */
    port?: number | string | undefined;
    /** Bytes of a request's body, 1024 to 16777216, default 65536. */
    bodyLimit?: number | undefined;
    /**
     * Whose X-Forwarded-For is believed, default false: nobody's. The number of proxies in front, 0
     * to 100; or their addresses, as a list or a text with commas: networks (10.0.0.0/8) and the
     * names loopback, linklocal, uniquelocal. Never true: clients could choose their address.
     */
    trustProxy?: false | number | string | string[] | undefined;
    /** Of those who may create orders and send messages; without any, nobody may. */
    tokens?: Array<{ name: string; token: string }> | undefined;
    /** ms that requests and messages on their way have when it stops, default 10000. */
    shutdownTimeout?: number | undefined;
  } | undefined;
  /** One of url, directory (the default, 'sekering-data') and memory. */
  store?: {
    url?: string | undefined;
    directory?: string | undefined;
    memory?: boolean | undefined;
    schema?: string | undefined;
    connections?: number | undefined;
    timeout?: number | undefined;
  } | undefined;
  midtrans?: ClientSection & {
    serverKey: string;
    production?: boolean | undefined;
    /** Other addresses, for tests and proxies. */
    snapUrl?: string | undefined;
    coreUrl?: string | undefined;
    connections?: number | undefined;
    /** A regular expression that fits the shop's order ids. */
    orderIdPattern?: string | undefined;
  } | undefined;
  /** Either host or url. */
  smtp?: ChannelSection & {
    host?: string | undefined;
    port?: number | string | undefined;
    secure?: boolean | undefined;
    /** Never to ask for TLS; except for this machine it also needs `requireTls: false`. */
    ignoreTls?: boolean | undefined;
    /**
     * Whether to refuse to send passwords and mails without TLS. Default true, unless the host is
     * this machine (localhost, 127.0.0.0/8, ::1). `secure` begins with TLS in any case.
     */
    requireTls?: boolean | undefined;
    user?: string | undefined;
    password?: string | undefined;
    url?: string | undefined;
    from: string;
  } | undefined;
  /** Either cloud or green. */
  whatsapp?: ChannelSection & {
    cloud?: {
      accessToken: string;
      phoneNumberId: string;
      appSecret?: string | undefined;
      verifyToken?: string | undefined;
      version?: string | undefined;
      baseUrl?: string | undefined;
    } | undefined;
    green?: {
      instanceId: string | number; token: string; baseUrl?: string | undefined;
    } | undefined;
  } | undefined;
  /** Services besides, for gateway.upstream(name, fn). */
  upstreams?: Record<string, {
    /** Default 'apiClient'. */
    preset?: PresetName | undefined;
    timeout?: number | undefined;
    /** Whether an old answer may stand in, for retry.fallback.cacheTtl; default false. */
    cache?: boolean | undefined;
    /** What is answered when nothing else is to be had. */
    default?: unknown;
    retry?: RetryFigures | undefined;
    circuitBreaker?: BreakerFigures | undefined;
  }> | undefined;
  /** Over all presets. */
  retry?: RetryFigures & {
    circuitBreaker?: BreakerFigures & {
      /** 'fleet': all hosts on one database. Default 'host'; 'instance' in the profile testing and
       * elsewhere than on Linux. */
      scope?: 'instance' | 'process' | 'host' | 'fleet' | undefined;
      /** Default 'default'. Gateways whose breakers differ do not meet. */
      namespace?: string | undefined;
      shareTrip?: 'any' | { processes: number } | undefined;
    } | undefined;
    /** Which failures of upstreams are worth another attempt. */
    policy?: {
      retryableStatuses?: Array<number | StatusClass> | undefined;
      retryableErrors?: string[] | undefined;
    } | undefined;
    fallback?: {
      /** ms after which a customer is told that his order is queued, default 5000. */
      maxWait?: number | undefined;
      /** ms for which an upstream's old answer may stand in, default 3600000. */
      cacheTtl?: number | undefined;
      /** Answers that are kept for each upstream, default 1000. */
      cacheSize?: number | undefined;
    } | undefined;
  } | undefined;
  outbox?: {
    /** Of a message, 1 to 100, default 5. */
    maxAttempts?: number | undefined;
    concurrency?: number | undefined;
    batchSize?: number | undefined;
    leaseMs?: number | undefined;
    pollInterval?: number | undefined;
  } | undefined;
  degradation?: {
    /** Default 'services'. */
    scheme?: 'services' | 'levels' | undefined;
    /** ms between looks, default 30000. */
    interval?: number | undefined;
    hysteresis?: number | undefined;
    /** The worst level at which each is on. */
    features?: Record<string, LevelName> | undefined;
  } | undefined;
  schedule?: {
    /** Gives dead letters whose upstream is back all their attempts again; each 5 minutes. */
    deadLetters?: Cron | undefined;
    /** Logs breakers that are not closed; each 2 minutes. */
    breakers?: Cron | undefined;
    /** Each minute. */
    health?: Cron | undefined;
    /** Each hour. */
    report?: Cron | undefined;
    /** Each day at 3:30. */
    cleanUp?: Cron | undefined;
    /** Asks Midtrans about orders that stayed pending or unknown; each 5 minutes. */
    reconcile?: Cron | undefined;
    /** Of what is sent, dead or expired, default 7. */
    retentionDays?: number | undefined;
    /** Of the audit log, 1 to 36500, default 365. */
    auditRetentionDays?: number | undefined;
    /** Default 'UTC'. */
    timezone?: string | undefined;
  } | undefined;
  admin?: {
    /** 16 to 512 characters each; without any, nobody gets in. */
    tokens?: Array<{
      name: string; role?: 'read' | 'operate' | undefined; token: string;
    }> | undefined;
    /** Where the command line finds the server; default host and port of `server`. */
    url?: string | undefined;
  } | undefined;
  logging?: {
    /** Default 'info', 'debug' in development, 'silent' in testing. */
    level?: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent' | undefined;
    /** Default true. */
    console?: boolean | undefined;
    /** Also appended to this file. */
    file?: string | undefined;
  } | undefined;
}

/** A fault of a configuration; `path` as the user wrote it, as in `admin.tokens[0].token`. */
export interface ConfigFault {
  path: string;
  message: string;
}

/**
 * Reads and checks a configuration, or a TOML file of that name.
 * @returns it, frozen, with all defaults; printed or as JSON it shows no secret
 * @throws SekeringError ERR_CONFIG with `faults`: all there are, without any value
 */
export function readConfig (
  config?: GatewayConfig | string, options?: { env?: Record<string, string | undefined> }
): Readonly<GatewayConfig>;
