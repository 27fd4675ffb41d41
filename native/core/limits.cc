#include "core/limits.h"

namespace sekering {

BulkheadHandle::~BulkheadHandle() {
  if (held_ > 0) shared_->Use().Release(held_);
}

bool BulkheadHandle::TryAcquire() noexcept {
  if (shared_ == nullptr) return own_.TryAcquire(capacity_);
  const bool acquired = shared_->Use().TryAcquire();
  if (acquired) ++held_;
  return acquired;
}

bool BulkheadHandle::TryAcquireForLine(Micros now) noexcept {
  if (shared_ == nullptr) return TryAcquire();
  const bool acquired = shared_->Use().TryAcquireForLine(now);
  if (acquired) ++held_;
  return acquired;
}

bool BulkheadHandle::MustYield(Micros now) noexcept {
  return shared_ != nullptr && shared_->Use().MustYield(now);
}

bool BulkheadHandle::Release() noexcept {
  if (shared_ == nullptr) return own_.Release();
  if (held_ == 0) return false;
  --held_;
  shared_->Use().Release();
  return true;
}

uint64_t BulkheadHandle::InUse() const noexcept {
  return shared_ == nullptr ? own_.InUse() : shared_->Use().InUse();
}

uint64_t BulkheadHandle::Held() const noexcept {
  return shared_ == nullptr ? own_.InUse() : shared_->Use().held();
}

uint32_t BulkheadHandle::Repairs() const noexcept {
  return shared_ == nullptr ? 0 : shared_->Use().repairs();
}

void Limits::Follow() noexcept {
  for (auto& [key, place] : places) place.Use();
}

uint32_t Limits::CreateBulkhead(uint64_t capacity, SharedMemory& memory) {
  SharedUse use(&memory);
  const std::pair key(&memory.participants(), std::string(memory.name()));
  const auto place = places.try_emplace(key, std::move(use), capacity).first;
  return bulkheads.Create(capacity, place->second);
}

}  // namespace sekering
