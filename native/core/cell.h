// A 64-bit word of memory that threads and processes share, and its two halves.
//
// Breakers and permits live in memory that was zeroed or mapped and in which nobody has constructed
// anything. So a Cell is a plain number, which such memory may hold, and every access goes through
// std::atomic_ref. A build that checks the protocol, access by access, puts another type in its
// place.

#ifndef SEKERING_CORE_CELL_H_
#define SEKERING_CORE_CELL_H_

#include <atomic>
#include <cstdint>
#include <new>
#include <type_traits>

#ifdef SEKERING_CELL_HEADER
#include SEKERING_CELL_HEADER
#else
namespace sekering {

class Cell {
 public:
  Cell() = default;  // Leaves the word as it is; `Cell{}` makes it 0.
  Cell(const Cell&) = delete;
  Cell& operator=(const Cell&) = delete;

  uint64_t load(std::memory_order order = std::memory_order_seq_cst) const noexcept {
    return Atomic().load(order);
  }
  void store(uint64_t value, std::memory_order order = std::memory_order_seq_cst) noexcept {
    Atomic().store(value, order);
  }
  uint64_t fetch_add(uint64_t added) noexcept { return Atomic().fetch_add(added); }
  uint64_t fetch_or(uint64_t bits) noexcept { return Atomic().fetch_or(bits); }
  bool compare_exchange_weak(uint64_t& expected, uint64_t desired) noexcept {
    return Atomic().compare_exchange_weak(expected, desired);
  }
  bool compare_exchange_strong(uint64_t& expected, uint64_t desired) noexcept {
    return Atomic().compare_exchange_strong(expected, desired);
  }

 private:
#ifdef __cpp_lib_atomic_ref
  std::atomic_ref<uint64_t> Atomic() const noexcept {
    return std::atomic_ref<uint64_t>(word_);
  }
  static_assert(std::atomic_ref<uint64_t>::is_always_lock_free);
#else  // libc++ before version 19, where an atomic number is laid out as the number itself.
  std::atomic<uint64_t>& Atomic() const noexcept {
    return reinterpret_cast<std::atomic<uint64_t>&>(word_);
  }
  static_assert(std::atomic<uint64_t>::is_always_lock_free);
  static_assert(sizeof(std::atomic<uint64_t>) == sizeof(uint64_t));
#endif

  alignas(8) mutable uint64_t word_;  // Loads are const, but atomic_ref takes no const word.
};
static_assert(std::is_trivially_default_constructible_v<Cell>);

}  // namespace sekering
#endif

namespace sekering {

static_assert(sizeof(Cell) == 8);

/// The cells at `cells` as the struct of cells that they hold. Zeroed and mapped memory holds such
/// structs without being told, as they are trivial.
template <class T>
T* InPlace(Cell* cells) {
  static_assert(std::is_standard_layout_v<T> && std::is_trivially_destructible_v<T>);
#ifndef SEKERING_CELL_HEADER
  static_assert(std::is_trivially_default_constructible_v<T>);
#endif
  return std::launder(reinterpret_cast<T*>(cells));
}

/// Asks the processor for memory that is needed soon.
inline void PrefetchLine(const void* memory) noexcept {
#ifdef __GNUC__
  __builtin_prefetch(memory);
#else
  static_cast<void>(memory);
#endif
}

// ---- Halves ------------------------------------------------------------------------------------

constexpr uint64_t Pack(uint32_t high, uint32_t low) {
  return uint64_t{high} << 32 | low;
}
constexpr uint32_t High(uint64_t word) {
  return static_cast<uint32_t>(word >> 32);
}
constexpr uint32_t Low(uint64_t word) {
  return static_cast<uint32_t>(word);
}

}  // namespace sekering

#endif  // SEKERING_CORE_CELL_H_
