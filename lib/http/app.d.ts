import { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import { Gateway } from '../gateway';
import { CloudApiClient, WebhookNews } from '../clients/whatsapp';
import { Deliveries, Payments } from '../store';

export interface WebhookRouterOptions {
  /** For POST /webhooks/midtrans. */
  payments?: Pick<Payments, 'handleNotification'> | undefined;
  /**
   * A client of the Cloud API or of Green API, for /webhooks/whatsapp: POST, and GET for the Cloud
   * API.
   */
  whatsapp?: Pick<CloudApiClient, 'receiveWebhook'> | object | undefined;
  /**
   * Stores delivery statuses of WhatsApp, and lets each event of a webhook be emitted only once in
   * all processes. If it fails, WhatsApp sends the webhook again.
   */
  deliveries?: Pick<Deliveries, 'record'> & Partial<Pick<Deliveries, 'handleOnce'>> | undefined;
  /**
   * Maximum size of Midtrans's bodies in bytes, 1 to 16777216, default 65536. `maxBody` of the
   * payments (PaymentsOptions) limits them too: the smaller one counts.
   */
  maxBody?: number | undefined;
  /** A path before /webhooks, such as '/api', if no router removes it. Default ''. */
  prefix?: string | undefined;
  /**
   * Called with what is new in a webhook of WhatsApp, before the answer. If it fails, the answer is
   * 500, and the entries of the repeated webhook count as new again.
   */
  onNews?: ((news: WebhookNews) => unknown) | undefined;
  /**
   * Called with errors that were answered with 500. Mistakes of the application, which anybody can
   * trigger, come at most once an hour: ERR_WEBHOOK_BODY, and ERR_INVALID_OPTION if the client of
   * WhatsApp has no secret for webhooks. By default errors become process warnings.
   */
  onError?: ((error: unknown, req: any) => void) | undefined;
}

/** Middleware; without `next` it answers other paths with 404, and other methods with 405. */
export type WebhookHandler = ((
  req: IncomingMessage, res: ServerResponse, next?: (error?: any) => void
) => Promise<void>) & {
  /** What it answers, such as 'POST /webhooks/midtrans'. */
  routes: string[];
};

/**
 * One handler for all webhooks: middleware for Express 4 and 5, Connect and Fastify, or the
 * listener of a server: `http.createServer(createWebhookRouter(options))`. Put it before parsers
 * such as express.json(), or let them keep the bytes:
 * `express.json({ verify: (req, res, buf) => { req.rawBody = buf } })`. It uses the first of these
 * that exists: `req.rawBody`, an unparsed `req.body`, what it can read, a parsed `req.body`.
 * Midtrans signs fields, so a parsed body is enough. WhatsApp and Iris sign bytes; without them the
 * answer is 503, ERR_WEBHOOK_BODY, so that they send the webhook again.
 */
export function createWebhookRouter (options: WebhookRouterOptions): WebhookHandler;

export interface AppOptions {
  /** Adds your own routes, after all others. */
  extend?: ((app: any) => void) | undefined;
}

/**
 * An Express 5 application with orders, notifications, webhooks, health, metrics, admin API and
 * dashboard of a gateway. `app.locals.close()` ends its streams.
 * @throws ERR_MISSING_PEER without express or prom-client
 */
export function createApp (gateway: Gateway, options?: AppOptions): RequestListener & {
  /** What the application has as `locals`, and as `use` of Express. */
  locals: any; use (...args: any[]): any;
};

/**
 * Starts a gateway and its HTTP server, as configured.
 * @throws ERR_LISTEN
 */
export function startServer (gateway: Gateway, options?: AppOptions): Promise<{
  /** Such as http://127.0.0.1:3000. */
  url: string;
  /** The port, also if 0 was asked for. */
  port: number;
  /** The application of Express. */
  app: any;
  /** The server of Node.js. */
  server: Server;
  /** Reports not ready, accepts no more connections, finishes what is in flight within
   * server.shutdownTimeout, and stops the gateway. */
  close (): Promise<void>;
}>;
