// A file system in memory behind the product's table of system calls, with a model of what a power loss keeps:
// file contents become durable by fsync of the file, names by fsync of the directory.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"

namespace memory_files {

using Content = std::vector<uint8_t>;

struct Node {
    Content data, durable;
    uint64_t id = 0;
};
using Names = std::map<std::string, std::shared_ptr<Node>>;

struct World {
    Names names, durable_names;
    struct Open {
        std::shared_ptr<Node> node;  // null: the directory
        size_t position = 0;
    };
    std::map<int, Open> open;
    int next = 1 << 20;
    std::vector<std::string> log;            // "write", "fsync file", "rename", "fsync directory" ...
    void (*after_each)(World&) = nullptr;    // called after every call that changes something
};
inline World& world() {
    static World current;
    return current;
}

inline void changed(const char* what) {
    world().log.push_back(what);
    if (world().after_each) world().after_each(world());
}

inline int failed(int reason) {
    errno = reason;
    return -1;
}

inline int open_file(const char* path, int flags, unsigned) {
    World& w = world();
    const auto found = w.names.find(path);
    World::Open opened;
    if (flags & O_DIRECTORY) {
    } else if (flags & O_CREAT) {
        if (found != w.names.end()) return failed(EEXIST);
        static uint64_t ids = 0;
        opened.node = std::make_shared<Node>();
        opened.node->id = ++ids;
        w.names[path] = opened.node;
    } else if (found == w.names.end()) {
        return failed(ENOENT);
    } else {
        opened.node = found->second;
    }
    w.open[++w.next] = opened;
    if (flags & O_CREAT) changed("create");
    return w.next;
}

inline ssize_t read_file(int fd, void* data, size_t bytes) {
    auto& opened = world().open.at(fd);
    const size_t count = std::min(bytes, opened.node->data.size() - opened.position);
    std::memcpy(data, opened.node->data.data() + opened.position, count);
    opened.position += count;
    return static_cast<ssize_t>(count);
}

inline ssize_t write_file(int fd, const void* data, size_t bytes) {
    const auto* start = static_cast<const uint8_t*>(data);
    Content& content = world().open.at(fd).node->data;
    content.insert(content.end(), start, start + bytes);
    changed("write");
    return static_cast<ssize_t>(bytes);
}

inline int sync_file(int fd) {
    const auto node = world().open.at(fd).node;
    if (node) node->durable = node->data;
    else world().durable_names = world().names;
    changed(node ? "fsync file" : "fsync directory");
    return 0;
}

inline int rename_file(const char* from, const char* to) {
    Names& names = world().names;
    const auto found = names.find(from);
    if (found == names.end()) return failed(ENOENT);
    names[to] = found->second;
    names.erase(from);
    changed("rename");
    return 0;
}

inline int unlink_file(const char* path) {
    if (world().names.erase(path) == 0) return failed(ENOENT);
    changed("unlink");
    return 0;
}

inline int stat_file(int fd, struct stat* out) {
    const auto node = world().open.at(fd).node;
    std::memset(out, 0, sizeof *out);
    out->st_mode = S_IFREG;
    out->st_dev = 1;
    out->st_ino = node->id;
    out->st_size = static_cast<off_t>(node->data.size());
    return 0;
}

// Installed for the life of the object; the real table returns afterwards. Paths below /memory do not exist really.
struct Installed {
    quant::Syscalls real = quant::syscalls();
    Installed() {
        world() = World();
        quant::Syscalls& table = quant::syscalls();
        table.open = open_file;
        table.read = read_file;
        table.write = write_file;
        table.fsync = sync_file;
        table.fchmod = [](int, unsigned) { return 0; };
        table.close = [](int fd) { return world().open.erase(fd) == 1 ? 0 : failed(EBADF); };
        table.rename = rename_file;
        table.unlink = unlink_file;
        table.fstat = stat_file;
        table.mmap = [](void*, size_t bytes, int, int, int fd, off_t) -> void* {
            void* copy = nullptr;
            if (posix_memalign(&copy, 64, bytes) != 0) return MAP_FAILED;
            std::memcpy(copy, world().open.at(fd).node->data.data(), bytes);
            return copy;
        };
        table.munmap = [](void* at, size_t) {
            std::free(at);
            return 0;
        };
    }
    ~Installed() {
        quant::syscalls() = real;
        world() = World();
    }
};

}  // namespace memory_files
