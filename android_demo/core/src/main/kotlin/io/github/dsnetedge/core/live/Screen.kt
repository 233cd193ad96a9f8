package io.github.dsnetedge.core.live

/** What the app shows, whole: whoever draws it needs nothing else, and may have missed all that came before. */
sealed interface Screen {
    /** Something takes a while: [done] of [of], in whatever unit. */
    data class Preparing(val what: String, val done: Long, val of: Long) : Screen

    /** Nothing can be classified before what [message] says has been done, or something else was chosen. */
    data class Failed(
        val message: String,
        /** Null where there is nothing to choose from. */
        val picker: Picker?,
    ) : Screen

    data class Ready(
        val picker: Picker,
        val strip: Strip,
        /** Null before the first image. */
        val answer: AnswerText?,
        /** What went wrong with the last thing that was asked for, and what to do; null: nothing. */
        val notice: String?,
    ) : Screen
}

/** What is shown before the first screen is published: others may have to finish first. */
val FIRST_SCREEN: Screen = Screen.Preparing("Starting", 0, 0)

/** The artifacts, and what can be chosen for the chosen one. */
data class Picker(
    val artifacts: List<String>,
    val artifact: Int,
    val choices: List<String>,
    val choice: Int,
) {
    val selection: Selection get() = Selection(artifacts[artifact], choices[choice])
}

/** What was chosen, in words that hold when the app starts again, perhaps with another bundle. */
data class Selection(val artifact: String, val choice: String)

/** One answer in words. */
data class AnswerText(val title: String, val detail: String)
