// What relaxed loads may still see: the values that words had, and who knows of which.
//
// The memory model of C++, as far as the core uses it. All stores and swaps are sequentially
// consistent, so they release what their participant knows, and all loads but the relaxed ones
// acquire what the word's last store released. A relaxed load takes nothing over, and returns any
// value from the latest that its participant knows of to the present one.

#ifndef SEKERING_TEST_SUPPORT_PAST_H_
#define SEKERING_TEST_SUPPORT_PAST_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace sekering {

constexpr uint64_t Mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9E3779B97F4A7C15;
  hash ^= hash >> 32;
  hash *= 0xD6E8FEB86659FD93;
  return hash ^ hash >> 29;
}

enum class Access : uint8_t { kLoad, kRelaxedLoad, kStore, kSwap };

class Past {
 public:
  /// For each word that is read by relaxed loads: how many of its values are known to be over.
  using View = std::vector<uint32_t>;

  struct Undo {
    View runner;
    View word;
    bool stored;
  };

  Past(uint64_t* words, size_t count, size_t runners)
      : words_(words), tracked_(count, kNone), runners_(runners), released_(count) {}

  /// Starts over, with the words that have been learnt.
  void Begin() {
    learnt_ = false;
    histories_.resize(watched_.size());
    for (size_t t = 0; t < watched_.size(); ++t) {
      tracked_[watched_[t]] = t;
      histories_[t] = {words_[watched_[t]]};
    }
    for (View& view : runners_) view.assign(watched_.size(), 0);
    for (View& view : released_) view.assign(watched_.size(), 0);
    stored_.clear();
  }

  /// Whether a relaxed load has met a word that was not watched.
  bool has_learnt() const { return learnt_; }

  /// What a relaxed load sees that looks `back` values back; `values` is how many it could.
  uint64_t Look(size_t runner, const uint64_t* address, size_t back, size_t& values) {
    const auto word = static_cast<size_t>(address - words_);
    const size_t t = tracked_[word];
    if (t == kNone) {
      if (std::find(watched_.begin(), watched_.end(), word) == watched_.end()) {
        watched_.push_back(word);
      }
      learnt_ = true;
      return *address;
    }
    values = histories_[t].size() - runners_[runner][t];
    return histories_[t][histories_[t].size() - 1 - back];
  }

  /// After an access, before its effects are looked at.
  Undo Note(Access access, size_t runner, size_t word, uint64_t before, uint64_t after,
            size_t back) {
    View& view = runners_[runner];
    const bool stored = access == Access::kStore || before != after;
    Undo undo{view, stored ? released_[word] : View(), stored};
    const size_t t = tracked_[word];
    if (access == Access::kRelaxedLoad) {
      if (t != kNone) view[t] = Last(t) - static_cast<uint32_t>(back);
      return undo;
    }
    if (access != Access::kStore) Join(view, released_[word]);
    if (t != kNone) {
      if (stored) histories_[t].push_back(after);
      view[t] = Last(t);
    }
    if (stored) {
      if (std::find(stored_.begin(), stored_.end(), word) == stored_.end()) stored_.push_back(word);
      released_[word] = view;
    }
    return undo;
  }

  void Take(const Undo& undo, size_t runner, size_t word) {
    runners_[runner] = undo.runner;
    if (!undo.stored) return;
    released_[word] = undo.word;
    if (tracked_[word] != kNone) histories_[tracked_[word]].pop_back();
  }

  /// Mixes in what the living may still see that is over, so far as it can matter.
  template <class IsAlive>
  uint64_t Hash(uint64_t hash, IsAlive is_alive) const {
    for (size_t t = 0; t < histories_.size(); ++t) {
      const std::vector<uint64_t>& history = histories_[t];
      uint32_t oldest = Last(t);
      for (size_t i = 0; i < runners_.size(); ++i) {
        if (is_alive(i)) oldest = std::min(oldest, runners_[i][t]);
      }
      if (oldest == Last(t)) continue;
      hash = Mix(hash, t << 32 | (Last(t) - oldest));
      for (size_t at = oldest; at < history.size(); ++at) hash = Mix(hash, history[at]);
      for (size_t i = 0; i < runners_.size(); ++i) {
        if (is_alive(i)) hash = Mix(hash, i << 32 | (runners_[i][t] - oldest));
      }
      uint64_t known = 0;  // In any order: the words are stored to in another on each way.
      for (const size_t word : stored_) {
        const uint32_t released = released_[word][t];
        if (released > oldest) known += Mix(word, released - oldest);
      }
      hash = Mix(hash, known);
    }
    return hash;
  }

 private:
  static constexpr size_t kNone = SIZE_MAX;

  uint32_t Last(size_t t) const { return static_cast<uint32_t>(histories_[t].size() - 1); }

  static void Join(View& view, const View& other) {
    for (size_t t = 0; t < view.size(); ++t) view[t] = std::max(view[t], other[t]);
  }

  uint64_t* words_;
  std::vector<size_t> tracked_;  // by word: its number in the histories
  std::vector<size_t> watched_;
  bool learnt_ = false;
  std::vector<std::vector<uint64_t>> histories_;
  std::vector<View> runners_;
  std::vector<View> released_;  // by word: what its last store let others know
  std::vector<size_t> stored_;  // words that have been stored to, on any way
};

}  // namespace sekering

#endif  // SEKERING_TEST_SUPPORT_PAST_H_
