-- Version 1: all of the queue's own spaces. `tubes_state` is there already: the version stands in it.

return function()
    -- The pages that were put in this epoch.
    local s = box.schema.space.create('tubes_marks', {format = {
        {'campaign', 'unsigned'}, {'segment', 'unsigned'}, {'seq', 'unsigned'},
    }})
    s:create_index('id', {parts = {'campaign', 'segment', 'seq'}})

    s = box.schema.space.create('tubes_outbox', {format = {
        {'number', 'unsigned'}, {'line', 'map'}, {'written_at', 'unsigned'},
    }})
    s:create_index('number', {parts = {'number'}})

    -- Who holds which task since which take, by which of its polls, whether its end will say nothing against the task, and
    -- in which session of the worker. Gone with the instance, as the takes themselves are.
    s = box.schema.space.create('tubes_taken', {temporary = true, format = {
        {'tube', 'string'}, {'id', 'unsigned'}, {'number', 'unsigned'}, {'worker', 'string'}, {'poll', 'unsigned'},
        {'excused', 'boolean'}, {'life', 'unsigned', is_nullable = true},
    }})
    s:create_index('id', {parts = {'tube', 'id'}})
    s:create_index('worker', {parts = {'worker', 'tube'}, unique = false})

    -- `ends`: takes that ended in nothing. `sent`: recipients that may have been sent to before the task was buried.
    s = box.schema.space.create('tubes_poison_counters', {format = {
        {'tube', 'string'}, {'id', 'unsigned'}, {'crashes', 'unsigned'}, {'why', 'string'}, {'ends', 'unsigned'},
        {'sent', 'unsigned', is_nullable = true},
    }})
    s:create_index('id', {parts = {'tube', 'id'}})

    -- Batches of paused campaigns. `counter`: the batch's poison counter, less its key.
    s = box.schema.space.create('tubes_parked', {format = {
        {'number', 'unsigned'}, {'campaign', 'unsigned'}, {'tube', 'string'}, {'data', 'array'},
        {'counter', 'array', is_nullable = true},
    }})
    s:create_index('number', {parts = {'number'}})
    s:create_index('campaign', {parts = {'campaign', 'number'}})
end
