import { BackoffJitter, BackoffStrategy } from '../primitives/backoff';
import { StatusClass } from '../primitives/classify';
import { LevelName } from './degradation';
import { PresetName, ProfileName } from '../primitives/presets';

/** Override the presets; ms. */
export interface RetryFigures {
  retries?: number | undefined;
  strategy?: BackoffStrategy | undefined;
  factor?: number | undefined;
  minTimeout?: number | undefined;
  maxTimeout?: number | undefined;
  randomize?: boolean | undefined;
  jitter?: BackoffJitter | undefined;
}

/** Override the presets; ms and percentages, as in the options of a CircuitBreaker. */
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
  /** Time limit of one attempt, ms. Default: that of the profile, else of the preset. */
  timeout?: number | undefined;
  circuitBreaker?: BreakerFigures | undefined;
}

interface ChannelSection extends ClientSection {
  /** Messages in flight at once, 1 to 1000, default 5. */
  concurrency?: number | undefined;
}

/**
 * A cron pattern of five or six fields; false: never.
 */
export type Cron = string | false;

/**
 * The configuration of a gateway. In TOML the names have underscores. The text `env:NAME`
 * means the environment variable NAME. Times are ms.
 */
export interface GatewayConfig {
  /** Default 'production'. */
  profile?: ProfileName | undefined;
  server?: {
    /** Default '127.0.0.1'. */
    host?: string | undefined;
    /** Default 3000; 0 takes a free one. */
    port?: number | string | undefined;
    /** Maximum size of a request's body in bytes, 1024 to 16777216, default 65536. */
    bodyLimit?: number | undefined;
    /**
     * Whose X-Forwarded-For is trusted; default false: nobody's. The number of proxies in front, 0
     * to 100; or their addresses, as a list or a text with commas: networks (10.0.0.0/8) and the
     * names loopback, linklocal, uniquelocal. Never true: clients could choose their address.
     */
    trustProxy?: false | number | string | string[] | undefined;
    /** Of clients that may create orders and send messages; without any, nobody can. */
    tokens?: Array<{ name: string; token: string }> | undefined;
    /** How long requests and messages in flight may take when it stops, ms, default 10000. */
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
    /** A regular expression that the shop's order ids match. */
    orderIdPattern?: string | undefined;
  } | undefined;
  /** Either host or url. */
  smtp?: ChannelSection & {
    host?: string | undefined;
    port?: number | string | undefined;
    secure?: boolean | undefined;
    /** True: never use TLS; except for this machine it also needs `requireTls: false`. */
    ignoreTls?: boolean | undefined;
    /**
     * Whether passwords and mails are never sent without TLS. Default true, unless the host is
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
  /** Other services, for gateway.upstream(name, fn). */
  upstreams?: Record<string, {
    /** Default 'apiClient'. */
    preset?: PresetName | undefined;
    timeout?: number | undefined;
    /** Whether an old response may be used, for retry.fallback.cacheTtl; default false. */
    cache?: boolean | undefined;
    /** The response if there is no other. */
    default?: unknown;
    retry?: RetryFigures | undefined;
    circuitBreaker?: BreakerFigures | undefined;
  }> | undefined;
  /** Overrides all presets. */
  retry?: RetryFigures & {
    circuitBreaker?: BreakerFigures & {
      /** 'fleet': all hosts on one database. Default 'host'; 'instance' in the profile testing and
       * elsewhere than on Linux. */
      scope?: 'instance' | 'process' | 'host' | 'fleet' | undefined;
      /** Default 'default'. Gateways with different breakers need different namespaces. */
      namespace?: string | undefined;
      shareTrip?: 'any' | { processes: number } | undefined;
    } | undefined;
    /** Which failures of upstreams are retried. */
    policy?: {
      retryableStatuses?: Array<number | StatusClass> | undefined;
      retryableErrors?: string[] | undefined;
    } | undefined;
    fallback?: {
      /** How long a customer waits before the order is queued, ms, default 5000. */
      maxWait?: number | undefined;
      /** How long an upstream's old response may be used, ms, default 3600000. */
      cacheTtl?: number | undefined;
      /** How many responses are kept for each upstream, default 1000. */
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
    /** ms between checks, default 30000. */
    interval?: number | undefined;
    hysteresis?: number | undefined;
    /** The worst level at which each feature is on. */
    features?: Record<string, LevelName> | undefined;
  } | undefined;
  schedule?: {
    /** Retries dead letters whose upstream is back, with a fresh attempt count; every 5 minutes. */
    deadLetters?: Cron | undefined;
    /** Logs breakers that are not closed; every 2 minutes. */
    breakers?: Cron | undefined;
    /** Every minute. */
    health?: Cron | undefined;
    /** Every hour. */
    report?: Cron | undefined;
    /** Every day at 3:30. */
    cleanUp?: Cron | undefined;
    /** Asks Midtrans about orders that stayed pending or unknown; every 5 minutes. */
    reconcile?: Cron | undefined;
    /** Of sent, dead and expired rows, default 7. */
    retentionDays?: number | undefined;
    /** Of the audit log, 1 to 36500, default 365. */
    auditRetentionDays?: number | undefined;
    /** Default 'UTC'. */
    timezone?: string | undefined;
  } | undefined;
  admin?: {
    /** 16 to 512 characters each; without any, nobody has access. */
    tokens?: Array<{
      name: string; role?: 'read' | 'operate' | undefined; token: string;
    }> | undefined;
    /** Where the command line finds the server. Default: host and port of `server`. */
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

/** An error in a configuration; `path` is as the user wrote it, such as `admin.tokens[0].token`. */
export interface ConfigFault {
  path: string;
  message: string;
}

/**
 * Reads and checks a configuration, or a TOML file of that name.
 * @returns it, frozen, with all defaults; it shows no secrets when printed or as JSON
 * @throws SekeringError ERR_CONFIG with all `faults`, without any value
 */
export function readConfig (
  config?: GatewayConfig | string, options?: { env?: Record<string, string | undefined> }
): Readonly<GatewayConfig>;
