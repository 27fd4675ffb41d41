// Objects by number, as JavaScript holds them.

#ifndef SEKERING_CORE_IDS_H_
#define SEKERING_CORE_IDS_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

namespace sekering {

/// Objects that never move. The numbers of destroyed ones are given out again.
template <class T>
class Ids {
 public:
  template <class... Args>
  uint32_t Create(Args&&... args) {
    uint32_t id;
    if (free_.empty()) {
      id = static_cast<uint32_t>(objects_.size());
      objects_.emplace_back();
    } else {
      id = free_.back();
      free_.pop_back();
    }
    objects_[id].emplace(std::forward<Args>(args)...);
    return id;
  }

  /// The number that the next object gets.
  uint32_t next() const {
    return free_.empty() ? static_cast<uint32_t>(objects_.size()) : free_.back();
  }

  /// Null if there is no such object.
  T* Find(uint32_t id) { return id < objects_.size() && objects_[id] ? &*objects_[id] : nullptr; }

  /// The object must exist.
  void Destroy(uint32_t id) {
    objects_[id].reset();
    free_.push_back(id);
  }

 private:
  std::deque<std::optional<T>> objects_;
  std::vector<uint32_t> free_;
};

}  // namespace sekering

#endif  // SEKERING_CORE_IDS_H_
