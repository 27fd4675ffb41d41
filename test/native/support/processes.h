// Processes that a test forks: they start together, report by their exit code, and are never left.

#ifndef SEKERING_TEST_SUPPORT_PROCESSES_H_
#define SEKERING_TEST_SUPPORT_PROCESSES_H_

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <new>
#include <string>
#include <vector>

namespace sekering {

/// A T that is shared with the processes forked later.
template <class T>
class SharedWithChildren {
 public:
  SharedWithChildren() {
    void* const memory =
        mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    value_ = new (memory) T();
  }
  ~SharedWithChildren() { munmap(value_, sizeof(T)); }
  SharedWithChildren(const SharedWithChildren&) = delete;
  SharedWithChildren& operator=(const SharedWithChildren&) = delete;
  T* operator->() { return value_; }
  T& operator*() { return *value_; }

 private:
  T* value_;
};

/// A barrier for several processes.
class Gate {
 public:
  explicit Gate(unsigned count) {
    pthread_barrierattr_t shared;
    pthread_barrierattr_init(&shared);
    pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&*barrier_, &shared, count);
  }
  void Pass() { pthread_barrier_wait(&*barrier_); }

 private:
  SharedWithChildren<pthread_barrier_t> barrier_;
};

class Children {
 public:
  Children() = default;
  ~Children() {
    for (const pid_t pid : pids_) {
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
    }
  }
  Children(const Children&) = delete;
  Children& operator=(const Children&) = delete;

  /// `work` returns whether all was well.
  pid_t Start(const std::function<bool()>& work) {
    std::fflush(nullptr);
    const pid_t pid = fork();
    if (pid == 0) {
      alarm(300);
      _exit(work() && !::testing::Test::HasFailure() ? 0 : 1);
    }
    pids_.push_back(pid);
    return pid;
  }

  void ExpectAllWell() {
    for (const pid_t pid : pids_) {
      int status = 0;
      EXPECT_EQ(waitpid(pid, &status, 0), pid);
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
    }
    pids_.clear();
  }

  /// Waits for all, however they end.
  void Await() {
    for (const pid_t pid : pids_) waitpid(pid, nullptr, 0);
    pids_.clear();
  }

  void Kill(pid_t pid) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    std::erase(pids_, pid);
  }

 private:
  std::vector<pid_t> pids_;
};

/// A name for a file in memory, in a folder of its own, which goes with this object.
class TemporaryPath {
 public:
  TemporaryPath() {
    char folder[] = "/dev/shm/sekering-test-XXXXXX";
    folder_ = mkdtemp(folder);
    path_ = folder_ + "/region";
  }
  ~TemporaryPath() { std::filesystem::remove_all(folder_); }
  TemporaryPath(const TemporaryPath&) = delete;
  TemporaryPath& operator=(const TemporaryPath&) = delete;
  const char* c_str() const { return path_.c_str(); }
  const std::string& folder() const { return folder_; }

 private:
  std::string folder_;
  std::string path_;
};

}  // namespace sekering

#endif  // SEKERING_TEST_SUPPORT_PROCESSES_H_
