-- Room on the disk, before an instance starts: without any it could not write its first row, and would end at once.

local errno = require('errno')
local fiber = require('fiber')
local fio = require('fio')
local json = require('json')

local room = {}

local NEEDED = 1024 * 1024 -- bytes: a blank instance's first snapshot and log, with space to spare
local LOOK_EVERY = 1 -- seconds
local TELL_EVERY = 60 -- seconds

local FULL = {[errno.ENOSPC] = true, [errno.EDQUOT] = true, [errno.EFBIG] = true}

-- Whether the folder's disk takes that much. What else may be wrong with it Tarantool reports itself.
local function is_there(folder)
    local path = fio.pathjoin(folder, '.room')
    local file = fio.open(path, {'O_WRONLY', 'O_CREAT', 'O_TRUNC'}, tonumber('600', 8))
    if file == nil then
        return not FULL[errno()]
    end
    local written = file:write(('x'):rep(NEEDED))
    local failed = not written and errno() or 0
    local size = file:stat().size
    file:close()
    fio.unlink(path)
    return written and size == NEEDED or failed ~= 0 and not FULL[failed]
end

local function tell(level, event, folder)
    io.stderr:write(json.encode({level = level, event = event, folder = folder}), '\n') -- as a node's children log
    io.stderr:flush()
end

-- Wait until there is some, however long that takes. A line on standard error says so.
function room.wait(folder)
    local told
    while not is_there(folder) do
        if told == nil or fiber.clock() > told + TELL_EVERY then
            tell('warning', 'the disk of the data folder is full: the start waits until there is room', folder)
            told = fiber.clock()
        end
        fiber.sleep(LOOK_EVERY)
    end
    if told ~= nil then
        tell('info', 'there is room on the disk: the start goes on', folder)
    end
end

return room
