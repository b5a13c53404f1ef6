-- Whether this instance's disk takes what is written. A write that fails is undone, and its caller gets Tarantool's
-- error for it.

local fiber = require('fiber')
local disk = {}

local REMEMBERED = 60 -- seconds: afterwards nobody knows whether it is still so

-- The last of our writes when the disk refused the next one, and when that was: a later write disproves it.
local refused_after, refused_at

local function finish(ok, ...)
    if not ok then
        local err = (...)
        if type(err) == 'cdata' and err.code == box.error.WAL_IO then
            refused_after, refused_at = box.info.lsn, fiber.clock()
        end
        error(err, 0)
    end
    return ...
end

-- The same verb; if the disk refuses what it writes, that is remembered.
function disk.noticed(verb)
    return function(...)
        return finish(pcall(verb, ...))
    end
end

function disk.full()
    return refused_at ~= nil and box.info.lsn == refused_after and fiber.clock() < refused_at + REMEMBERED
end

return disk
