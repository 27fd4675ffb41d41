import { EventEmitter } from 'node:events';
import { IncomingMessage, ServerResponse } from 'node:http';
import { SekeringError } from '../base/errors';
import CircuitBreaker = require('../primitives/breaker');
import { Store } from '../store';

/** Good to bad: NORMAL, DEGRADED, SEVERE, EMERGENCY. */
export type ServicesLevel = 'NORMAL' | 'DEGRADED' | 'SEVERE' | 'EMERGENCY';
/** Good to bad: NORMAL, MINOR, MODERATE, SEVERE, CRITICAL. */
export type FiveLevel = 'NORMAL' | 'MINOR' | 'MODERATE' | 'SEVERE' | 'CRITICAL';
export type LevelName = ServicesLevel | FiveLevel;

export type ServiceCondition = 'up' | 'impaired' | 'down';

/**
 * A breaker: open means down, half open means impaired. Or a function that is called every
 * `interval`: false, a rejection and a timeout mean down.
 */
export type WatchedService = CircuitBreaker<any, any> | ((context: { signal: AbortSignal }) =>
  boolean | ServiceCondition | void | Promise<boolean | ServiceCondition | void>);

/** A rule holds if all its conditions hold; the worst rule that holds decides. */
export interface DegradationRule {
  /** The level while all conditions of the rule hold. */
  level: LevelName;
  /** At least so many services are down. */
  down?: number | undefined;
  /** At least so many services are not up. */
  impaired?: number | undefined;
  /** All of these are down. */
  services?: string[] | undefined;
}

export interface DegradationOptions {
  /**
   * 'services': four levels, by 1, 2 and 3 services down. 'levels': five, by 1 impaired and 1, 2
   * and 3 down. Default 'services'.
   */
  scheme?: 'services' | 'levels' | undefined;
  /** Names of 1 to 64 letters, digits, dots, dashes or underscores. */
  services?: Record<string, WatchedService> | undefined;
  /** Instead of the scheme's. */
  rules?: DegradationRule[] | undefined;
  /** The worst level at which each feature is still on. */
  features?: Record<string, LevelName> | undefined;
  /** The level improves only after the rules have allowed it for so many ms, 0 to 86400000;
   * default: `interval`. It worsens at once. */
  hysteresis?: number | undefined;
  /** ms between checks, 10 to 86400000, default 30000. Breakers have an effect at once. */
  interval?: number | undefined;
  /** Time limit of a function in ms, 1 to 86400000, default 5000. */
  timeout?: number | undefined;
}

export interface LevelChange {
  /** The level before. */
  from: LevelName;
  /** The level now. */
  to: LevelName;
  /** Why, for people. */
  reason: string;
  /** 'automatic', or the name of the operator. */
  by: string;
}

/** The arguments of setLevel; level null: the rules decide again. */
export interface ManualLevel {
  /** null: the rules decide. */
  level: LevelName | null;
  /** Why, for people. */
  reason: string;
  /** Who set it. */
  by: string;
}

export interface DegradationEvents {
  /** The level changed. */
  level: [LevelChange];
  /** setLevel was called, whether or not that changed the level. */
  manual: [ManualLevel];
}

export interface DegradationSnapshot {
  /** The level now; 0 is the best. */
  level: { name: LevelName; index: number };
  /** The level by the rules, even while another is set by hand. */
  automatic: { name: LevelName; index: number };
  /** Whether the level is set by hand. */
  manual: boolean;
  /** Why, for people. */
  reason: string;
  /** 'automatic', or who set it. */
  by: string;
  /** ISO 8601 */
  since: string;
  /** Good to bad. */
  levels: LevelName[];
  /** By name: up, impaired or down. */
  services: Record<string, ServiceCondition>;
  /** By name, whether each is on. */
  features: Record<string, boolean>;
  /** Whether midtrans and database are watched and not down. */
  canAcceptOrders: boolean;
  /** Whether smtp or whatsapp is watched and not down. */
  canSendNotifications: boolean;
}

/** The error of requireService(). */
export interface ServiceDownError extends SekeringError {
  /** Stable; for programs. */
  readonly code: 'ERR_SERVICE_DOWN';
  /** The name of the service that is down. */
  readonly service: string;
  /** For the answer to a request. */
  readonly status: 503;
  /** Seconds. */
  readonly retryAfter: number;
  /** ms after which another attempt makes sense. */
  readonly retryAfterMs: number;
  /** Headers for the answer, as Express sends them. */
  readonly headers: { 'Retry-After': string };
}

export interface GuardOptions {
  /** Only requests with these methods are guarded; for a read-only mode, those that write.
   * Default: all. */
  methods?: string[] | undefined;
  /** Seconds, an integer from 0 to 86400, default 60. */
  retryAfter?: number | undefined;
}

export interface Degradation extends EventEmitter {
  /** The level now; 0 is the best. */
  readonly level: { name: LevelName; index: number };
  /** All levels, good to bad. */
  readonly levels: LevelName[];
  /** Follows the breakers, and checks now and every `interval`. Resolves after the first check. */
  start (): Promise<void>;
  /** Stops following breakers and services. */
  stop (): void;
  /** Checks the services now, in addition to every `interval`. */
  look (): Promise<void>;
  /**
   * Overrides the rules until it is set to null.
   * @param options.reason one line, at most 500 characters; null needs none
   * @param options.by the name of the operator, default 'operator'
   * @param options.since when it was decided, default now
   * @throws TypeError or RangeError ERR_INVALID_OPTION
   */
  setLevel (name: LevelName, options: {
    /** Why, for people; who; since when, default now. */
    reason: string; by?: string | undefined; since?: Date | undefined;
  }): { name: LevelName; index: number };
  setLevel (name: null, options?: {
    /** Why, for people; who; since when, default now. */
    reason?: string | undefined; by?: string | undefined; since?: Date | undefined;
  }): { name: LevelName; index: number };
  /** @throws RangeError ERR_INVALID_OPTION when there is no such feature */
  isEnabled (feature: string): boolean;
  /** The condition of a service; undefined if it is not watched. Cheaper than snapshot(). */
  conditionOf (service: string): ServiceCondition | undefined;
  /**
   * Returns if the service is up or impaired.
   * @param options.retryAfter seconds, an integer from 0 to 86400, default 60
   * @throws ServiceDownError if it is down, which `problemHandler` and Express answer with 503;
   *   TypeError or RangeError ERR_INVALID_OPTION if it is not watched
   */
  requireService (service: string, options?: { retryAfter?: number | undefined }): void;
  /** Whether the services 'midtrans' and 'database' are both watched and not down. */
  canAcceptOrders (): boolean;
  /** Whether one of the services 'smtp' and 'whatsapp' is watched and not down. */
  canSendNotifications (): boolean;
  /**
   * Express middleware: while the feature is off, or the function returns false, it answers 503
   * with problem+json (code ERR_DEGRADED), Retry-After and `retryAfter` in the body.
   */
  guard (
    what: string | ((req: any) => boolean | Promise<boolean>), options?: GuardOptions
  ): (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => Promise<void>;
  /** Everything at once, as JSON. */
  snapshot (): DegradationSnapshot;

  on<E extends keyof DegradationEvents> (
    event: E, listener: (...args: DegradationEvents[E]) => void): this;
  once<E extends keyof DegradationEvents> (
    event: E, listener: (...args: DegradationEvents[E]) => void): this;
  off<E extends keyof DegradationEvents> (
    event: E, listener: (...args: DegradationEvents[E]) => void): this;
}

/** @throws TypeError or RangeError ERR_INVALID_OPTION */
export function createDegradation (options?: DegradationOptions): Degradation;

/**
 * Applies a level set by hand to all processes and hosts that share a store, and to those that
 * start later. The process that sets one has it at once, the others within milliseconds. While the
 * database is down it applies where it was set, and is shared when the database is back. Of two
 * decisions the newer one wins. Each process applies the rules on its own.
 *
 * Emits 'warning'(error) when the database could not be written or read, which is retried, and
 * when this degradation does not have the level.
 */
export interface SharedLevel extends EventEmitter {
  /** Takes the level that was set last, and follows from now on. Resolves after the first check,
   * even if it failed. */
  start (): Promise<void>;
  /** Keeps the level. Waits for writes in progress. */
  stop (): Promise<void>;
}

/** @throws TypeError ERR_INVALID_OPTION */
export function createSharedLevel (
  options: { store: Store; degradation: Degradation }): SharedLevel;
