-- The embedded instance: store and queue in one, or a node's own queue. Its parent writes one line of JSON to our
-- standard input and keeps the pipe open. When the pipe ends, the parent is gone: we wait for our workers and exit.

local fiber = require('fiber')
local fio = require('fio')
local json = require('json')
local log = require('log')
local socket = require('socket')
local ffi = require('ffi')

ffi.cdef [[
    ssize_t read(int fd, void *buf, size_t count);
    int flock(int fd, int operation);
]]

local ORPHAN_LIFE = 6 -- seconds: workers without a node drain for 5
local LOOK_EVERY = 1 -- seconds between two checks that our socket still exists
local FORMER_LIFE = 15 -- seconds for which an orphaned instance may still hold the data folder

local buffer = ffi.new('char[4096]')

local function read_some()
    while true do
        socket.iowait(0, 'R')
        local n = tonumber(ffi.C.read(0, buffer, 4096))
        if n >= 0 then
            return ffi.string(buffer, n)
        end
    end
end

local line = ''
while not line:find('\n', 1, true) do
    local part = read_some()
    if part == '' then
        os.exit(0)
    end
    line = line .. part
end
local config = json.decode(line)

local ours = ('%s/?.lua;%s/?/init.lua'):format(config.lua, config.lua)
package.path = ours .. ';' .. package.path

require('queue_module').choose(config.queue_module, ours)
local instance = require('instance')
local leaving = require('leaving')

local on_socket = config.listen:sub(1, 1) == '/'

-- A parent that was killed cannot remove the socket and its link.
local function leave()
    leaving.wait(ORPHAN_LIFE)
    if on_socket then
        on_socket = false -- do not listen again
        fio.unlink(config.listen)
    end
    if config.link ~= nil then
        fio.unlink(config.link)
        fio.rmdir(fio.dirname(config.link))
    end
    os.exit(0)
end

-- Make the folder if it is missing. Returns whether it belongs to the user that owns the data.
local function private(folder)
    fio.mkdir(folder, tonumber('700', 8))
    local found = fio.lstat(folder)
    return found ~= nil and found:is_dir() and found.uid == fio.stat(config.directory).uid
end

-- A cleaner of temporary files deletes sockets and links that look old to it. Connected clients go on, but nobody could
-- connect any more: so listen again.
local function mend()
    while on_socket do
        fiber.sleep(LOOK_EVERY)
        if on_socket and not fio.path.exists(config.listen) then
            log.warn('the socket %s is gone: listening anew', config.listen)
            local ok, why = pcall(function()
                if config.link ~= nil and not fio.path.exists(config.link) then
                    assert(private(fio.dirname(config.link)), fio.dirname(config.link) .. ' is of another user')
                    fio.unlink(config.link)
                    fio.symlink(config.directory, config.link)
                end
                box.cfg({listen = ''})
                box.cfg({listen = config.listen})
            end)
            if not ok then
                log.error('%s: %s', config.listen, why)
            end
        end
    end
end

fiber.create(function()
    fiber.name('orphan guard')
    repeat until read_some() == ''
    leave()
end)

-- Tarantool locks the data folder, and fails at once if another instance has it: a former instance of ours may still be
-- waiting for its workers after its node was killed.
local function wait_for_the_former()
    local LOCK, UNLOCK = 6, 8 -- LOCK_EX + LOCK_NB, LOCK_UN
    local folder = fio.open(config.directory, {'O_RDONLY'})
    local deadline = fiber.clock() + FORMER_LIFE
    while ffi.C.flock(folder.fh, LOCK) ~= 0 and fiber.clock() < deadline do
        fiber.sleep(0.05)
    end
    ffi.C.flock(folder.fh, UNLOCK)
    folder:close()
end

wait_for_the_former()
local ok, said = pcall(instance.start, config)
if not ok then
    io.stderr:write('cannot start: ', tostring(said), '\n') -- the parent shows it to a person
    os.exit(1)
end
instance.tell(said)
fiber.create(mend)
