import CircuitBreaker = require('../primitives/breaker');
import { Degradation, Health } from '../gateway';
import { SessionPool } from '../clients/whatsapp';
import { DeadLetters } from '../store';
import { PageAccess } from './admin';

export interface HealthRouterOptions extends PageAccess {
  /** Whose checks it shows. */
  health: Pick<Health, 'check' | 'live' | 'ready'>;
  /** For the level. Default: none. */
  degradation?: Pick<Degradation, 'snapshot'> | undefined;
  /** Default: all live breakers of this thread. */
  breakers?: (() => CircuitBreaker<any, any>[]) | undefined;
  /** For their counts. Default: none. */
  deadLetters?: Pick<DeadLetters, 'summary'> | undefined;
  /** For the health of instances. Default: none. */
  sessions?: Pick<SessionPool<any>, 'health' | 'status'> | undefined;
}

/**
 * An Express 5 router with GET pages; `application/json`, never cached by others. Everybody may see
 * `/health`, `/health/live`, `/health/ready` and `/api/health`; `access` says who may see the
 * others, and the details of the checks in `/api/health`. Reasons (of a level, of a session's
 * error) and names of operators are only for callers with a token.
 *
 * - `/health`: status, uptime (of the process, in seconds), timestamp, degradation (the level's
 *   name), services (the status of each check), checks, the figures of the sessions. 503 if
 *   unhealthy
 * - `/health/live`: 200
 * - `/health/ready`: 200 or 503, as `health.ready()`. If the degradation watches `midtrans` and
 *   `database`, it also needs canAcceptOrders()
 * - `/health/detailed`: everything. 503 if unhealthy
 * - `/health/circuit-breakers`: up to 1000, the open ones first
 * - `/health/degradation`, `/health/dlq`: with `configured: false` if that part is not configured
 * - `/api/health`: status, `api` and `cache` (the checks of these names), the breakers, and
 *   response times. 200 healthy, 200 degraded, 503 unhealthy
 * - `/circuit-breaker-status/:id`: an instance of the sessions, or the breaker with this name
 *
 * @throws SekeringError ERR_MISSING_PEER without the package express
 */
export function createHealthRouter (options: HealthRouterOptions): any;
