-- The embedded instance: store and queue in one, or a node's own queue. Its parent writes one line of JSON to our
-- standard input and keeps the pipe open; when that pipe ends, the parent is gone, and so are we.

local fiber = require('fiber')
local fio = require('fio')
local json = require('json')
local socket = require('socket')
local ffi = require('ffi')

ffi.cdef [[ ssize_t read(int fd, void *buf, size_t count); ]]

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

-- Whoever is killed cannot take away the folder that he made for our socket.
local function leave()
    if config.listen:sub(1, 1) == '/' then
        fio.unlink(config.listen)
        fio.rmdir(fio.dirname(config.listen))
    end
    os.exit(0)
end

fiber.create(function()
    fiber.name('orphan guard')
    repeat until read_some() == ''
    leave()
end)

package.path = package.path .. (';%s/?.lua;%s/?/init.lua'):format(config.lua, config.lua)

local instance = require('instance')
local ok, said = pcall(instance.start, config)
if not ok then
    io.stderr:write('cannot start: ', tostring(said), '\n') -- the parent tells it to a person
    os.exit(1)
end
instance.tell(said)
