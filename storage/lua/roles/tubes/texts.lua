-- The versions of corrected campaigns' texts, as they came with the lease. A take notes the version on the batch, and the
-- worker sends it with these texts.

local batch_format = require('roles.tubes.batch_format')

local texts = {}

local versions = {} -- campaign as text -> version

-- Set them, with each renewal: {campaign, version}s; nil: none.
function texts.set(list)
    versions = {}
    for _, entry in ipairs(list or {}) do
        versions[tostring(entry[1])] = entry[2]
    end
end

-- Inside the caller's transaction, which has just taken this task. Returns it with the version of its texts on it.
function texts.note(tube, task)
    if next(versions) == nil or type(task[3]) ~= 'table' then
        return task
    end
    local version = versions[tostring(task[3][batch_format.CAMPAIGN])]
    if version == nil or task[3][batch_format.TEXTS] == version then
        return task
    end
    batch_format.set_texts(box.space[tube.name], task[1], version)
    return tube:peek(task[1])
end

return texts
