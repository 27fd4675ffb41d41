export * from './store';
export * from './outbox';
export * from './dead-letters';
export * from './deliveries';
export * from './idempotency';
export * from './payments';
export * from './fleet';
